// SPDX-License-Identifier: Apache-2.0
#include "server/access.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <optional>
#include <utility>

#include "base/yaml_reader.h"

namespace duly {
namespace {

constexpr std::string_view kHowTo = "64 hexadecimal digits, as of: printf %s TOKEN | sha256sum";

std::string_view NameOf(Scope scope) {
  switch (scope) {
    case Scope::kInfer:
      return "infer";
    case Scope::kRead:
      return "read";
    case Scope::kControl:
      return "control";
    case Scope::kNone:
    case Scope::kToken:
      break;
  }
  return "";
}

template <typename Hash>
std::optional<Hash> ParseHash(std::string_view hex) {
  Hash hash{};
  if (hex.size() != 2 * hash.size()) return std::nullopt;
  for (std::size_t i = 0; i < hash.size(); ++i) {
    const char* const end = hex.data() + 2 * i + 2;
    const std::from_chars_result parsed = std::from_chars(end - 2, end, hash[i], 16);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  }
  return hash;
}

// The token of "Bearer TOKEN"; empty when it is something else. Schemes have no case (RFC 9110).
std::string_view BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return {};
  const bool bearer = std::ranges::equal(
      authorization.substr(0, kScheme.size()), kScheme, [](char given, char wanted) {
        return (given >= 'A' && given <= 'Z' ? given + 32 : given) == wanted;
      });
  if (!bearer) return {};
  const std::size_t begin = authorization.find_first_not_of(' ', kScheme.size());
  return begin == std::string_view::npos ? std::string_view() : authorization.substr(begin);
}

}  // namespace

Access::Hash Access::HashOf(std::string_view token) {
  Hash hash;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  return hash;
}

Access Access::Load(const std::string& file, Faults& faults) {
  Access access;
  LoadYaml(file, faults, [&](YamlMap& root) {
    for (const YamlValue& item : root.Required("tokens").AsNonEmptyList()) {
      YamlMap entry = item.AsMap();
      Token token;
      const YamlValue name = entry.Required("name");
      token.name = name.AsText().value_or("");
      if (!token.name.empty() && std::ranges::count(access.tokens_, token.name, &Token::name) > 0) {
        name.Fail(fmt::format("a second token '{}'", token.name), "a name of its own");
      }
      const YamlValue sha256 = entry.Required("sha256");
      if (const std::optional<std::string> hex = sha256.AsText()) {
        const std::optional<Hash> hash = ParseHash<Hash>(*hex);
        if (!hash) {
          sha256.Fail("this is not a SHA-256", std::string(kHowTo));
        } else if (*hash == HashOf("")) {
          sha256.Fail("this is the SHA-256 of no token at all", std::string(kHowTo));
        } else if (std::ranges::count(access.tokens_, *hash, &Token::sha256) > 0) {
          sha256.Fail("another entry has the same token", "one entry for each token");
        }
        token.sha256 = hash.value_or(Hash{});
      }
      for (const YamlValue& scope : entry.Required("scopes").AsNonEmptyList()) {
        const std::optional<Scope> named = scope.AsChoice<Scope>(
            {{"infer", Scope::kInfer}, {"read", Scope::kRead}, {"control", Scope::kControl}});
        if (named) token.scopes.push_back(*named);
      }
      access.tokens_.push_back(std::move(token));
    }
  });
  return access;
}

Status Access::Check(Scope scope, std::string_view authorization) const {
  if (scope == Scope::kNone || is_open()) return Status();
  const std::string_view given = BearerToken(authorization);
  if (given.empty()) {
    return Status(StatusCode::kUnauthenticated,
                  "this needs a token: expected 'Authorization: Bearer TOKEN'");
  }
  const Hash hash = HashOf(given);
  const Token* found = nullptr;
  for (const Token& token : tokens_) {
    if (CRYPTO_memcmp(token.sha256.data(), hash.data(), hash.size()) == 0) found = &token;
  }
  if (found == nullptr) return Status(StatusCode::kUnauthenticated, "the token is not known");
  if (scope == Scope::kToken || std::ranges::count(found->scopes, scope) > 0) return Status();
  return Status(StatusCode::kPermissionDenied,
                fmt::format("the token '{}' lacks the scope '{}'", found->name, NameOf(scope)));
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost") return true;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(std::string(host), error);
  return !error && address.is_loopback();
}

}  // namespace duly
