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

#include "base/mutex.h"
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

// The limits of one token, and who holds them.
class Access::Use : public std::enable_shared_from_this<Use> {
 public:
  Use(std::optional<std::uint32_t> max_in_flight, std::optional<double> rate_per_s)
      : max_in_flight_(max_in_flight),
        rate_per_s_(rate_per_s),
        most_(std::max(rate_per_s.value_or(0), 1.0)),
        allowed_(most_) {}

  Result<Permit> Begin(const std::string& name, Time now, Duration& retry_after) {
    const MutexLock lock(mutex_);
    if (max_in_flight_ && in_flight_ >= *max_in_flight_) {
      ++refused_in_flight_;
      retry_after = std::chrono::seconds(1);
      return Error(StatusCode::kResourceExhausted,
                   "the token '{}' has {} requests in flight: expected no more", name, in_flight_);
    }
    if (rate_per_s_) {
      if (last_ != Time()) {
        const std::chrono::duration<double> passed = now - last_;
        allowed_ = std::clamp(allowed_ + passed.count() * *rate_per_s_, 0.0, most_);
      }
      last_ = now;
      if (allowed_ < 1) {
        ++refused_rate_;
        const std::chrono::duration<double> wait((1 - allowed_) / *rate_per_s_);
        retry_after = std::chrono::ceil<Duration>(std::min(wait, kLongestWait));
        return Error(StatusCode::kResourceExhausted,
                     "the token '{}' sends more than {} requests a second", name, *rate_per_s_);
      }
      allowed_ -= 1;
    }
    ++in_flight_;
    return Permit(this, [use = shared_from_this()](const void*) { use->End(); });
  }

  TokenCounts Counts(const std::string& name) const {
    const MutexLock lock(mutex_);
    return {name, in_flight_, refused_in_flight_, refused_rate_};
  }

 private:
  static constexpr std::chrono::duration<double> kLongestWait{86'400};

  void End() {
    const MutexLock lock(mutex_);
    --in_flight_;
  }

  const std::optional<std::uint32_t> max_in_flight_;
  const std::optional<double> rate_per_s_;
  const double most_;  // requests at once

  mutable Mutex mutex_;
  double allowed_ DULY_GUARDED_BY(mutex_);
  Time last_ DULY_GUARDED_BY(mutex_);
  std::uint32_t in_flight_ DULY_GUARDED_BY(mutex_) = 0;
  std::uint64_t refused_in_flight_ DULY_GUARDED_BY(mutex_) = 0;
  std::uint64_t refused_rate_ DULY_GUARDED_BY(mutex_) = 0;
};

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
      const std::optional<std::uint32_t> most = entry["max_in_flight"].AsCount(1, 1'000'000);
      const YamlValue rate = entry["max_rate"];
      const std::optional<double> rate_per_s = rate.AsRate();
      if (rate_per_s && *rate_per_s <= 0) rate.Fail("the rate is 0", "a rate above 0, as 100/s");
      if (most || rate_per_s) token.use = std::make_shared<Use>(most, rate_per_s);
      access.tokens_.push_back(std::move(token));
    }
  });
  return access;
}

Status Access::Check(Scope scope, std::string_view authorization) const {
  const Result<const Token*> token = Find(scope, authorization);
  return token ? Status() : token.error();
}

Result<Permit> Access::Admit(Scope scope, std::string_view authorization, Time now,
                             Duration& retry_after) const {
  DULY_ASSIGN_OR_RETURN(const Token* const token, Find(scope, authorization));
  if (token == nullptr || token->use == nullptr) return Permit();
  return token->use->Begin(token->name, now, retry_after);
}

std::vector<TokenCounts> Access::Counts() const {
  std::vector<TokenCounts> counts;
  for (const Token& token : tokens_) {
    if (token.use != nullptr) counts.push_back(token.use->Counts(token.name));
  }
  return counts;
}

Result<const Access::Token*> Access::Find(Scope scope, std::string_view authorization) const {
  if (scope == Scope::kNone || is_open()) return nullptr;
  const std::string_view given = BearerToken(authorization);
  if (given.empty()) {
    return Error(StatusCode::kUnauthenticated,
                 "this needs a token: expected 'Authorization: Bearer TOKEN'");
  }
  const Hash hash = HashOf(given);
  const Token* found = nullptr;
  for (const Token& token : tokens_) {
    if (CRYPTO_memcmp(token.sha256.data(), hash.data(), hash.size()) == 0) found = &token;
  }
  if (found == nullptr) return Error(StatusCode::kUnauthenticated, "the token is not known");
  if (scope == Scope::kToken || std::ranges::count(found->scopes, scope) > 0) return found;
  return Error(StatusCode::kPermissionDenied, "the token '{}' lacks the scope '{}'", found->name,
               NameOf(scope));
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost") return true;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(std::string(host), error);
  return !error && address.is_loopback();
}

}  // namespace duly
