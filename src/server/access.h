// SPDX-License-Identifier: Apache-2.0
//
// Who may do what: API tokens with scopes, for both protocols.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fault.h"
#include "base/result.h"
#include "base/time.h"

namespace duly {

// What a call needs.
enum class Scope : std::uint8_t {
  kNone,     // nothing: the server's health
  kToken,    // any known token
  kInfer,    // inference, and shared memory for it
  kRead,     // metadata, configurations, statistics, the index, metrics
  kControl,  // loads and unloads, settings
};

// What a request holds of its token's limits until it is answered; null where there are none.
using Permit = std::shared_ptr<const void>;

// What became of a token's limits.
struct TokenCounts {
  std::string name;
  std::uint32_t in_flight = 0;
  std::uint64_t refused_in_flight = 0;
  std::uint64_t refused_rate = 0;
};

// The tokens that a server knows, of which it keeps the hashes only. Without any, everybody may do
// everything. Copies share what the limits count. Threading: all methods from any thread.
class Access {
 public:
  Access() = default;

  // Reads a file of tokens:
  //   tokens:
  //     - {name: camera, sha256: HEX, scopes: [infer, read, control],
  //        max_in_flight: 8, max_rate: 100/s}
  // Adds every fault in it; a file without tokens is one.
  static Access Load(const std::string& file, Faults& faults);

  bool is_open() const { return tokens_.empty(); }

  // authorization: value of the header or metadata of that name ("Bearer TOKEN"), empty when there
  // is none. kUnauthenticated when it holds no known token, kPermissionDenied when the token lacks
  // the scope. How long it takes tells nothing about the tokens.
  Status Check(Scope scope, std::string_view authorization) const;

  using Time = std::chrono::steady_clock::time_point;
  // The same for a request that begins now. kResourceExhausted when its token has max_in_flight
  // others, or had more than max_rate allows (as many at once as are allowed in a second);
  // retry_after says when it may be tried again. What needs no token is not limited.
  Result<Permit> Admit(Scope scope, std::string_view authorization, Time now,
                       Duration& retry_after) const;

  // Of the tokens with limits.
  std::vector<TokenCounts> Counts() const;

 private:
  class Use;
  using Hash = std::array<unsigned char, 32>;
  struct Token {
    std::string name;
    Hash sha256{};
    std::vector<Scope> scopes;
    std::shared_ptr<Use> use;  // null: no limits
  };

  // The token that may do it; null when none is needed.
  Result<const Token*> Find(Scope scope, std::string_view authorization) const;

  static Hash HashOf(std::string_view token);

  std::vector<Token> tokens_;
};

// Whether only this machine reaches what listens there: 127.0.0.0/8, ::1, localhost.
bool IsLoopback(std::string_view host);

}  // namespace duly
