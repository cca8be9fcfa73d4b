// SPDX-License-Identifier: Apache-2.0
//
// Who may do what: API tokens with scopes, for both protocols.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fault.h"
#include "base/status.h"

namespace duly {

// What a call needs.
enum class Scope : std::uint8_t {
  kNone,     // nothing: the server's health
  kToken,    // any known token
  kInfer,    // inference, and shared memory for it
  kRead,     // metadata, configurations, statistics, the index, metrics
  kControl,  // loads and unloads, settings
};

// The tokens that a server knows, of which it keeps the hashes only. Without any, everybody may do
// everything. Threading: immutable, all methods from any thread.
class Access {
 public:
  Access() = default;

  // Reads a file of tokens:
  //   tokens:
  //     - {name: camera, sha256: HEX, scopes: [infer, read, control]}
  // Adds every fault in it; a file without tokens is one.
  static Access Load(const std::string& file, Faults& faults);

  bool is_open() const { return tokens_.empty(); }

  // authorization: value of the header or metadata of that name ("Bearer TOKEN"), empty when there
  // is none. kUnauthenticated when it holds no known token, kPermissionDenied when the token lacks
  // the scope. How long it takes tells nothing about the tokens.
  Status Check(Scope scope, std::string_view authorization) const;

 private:
  using Hash = std::array<unsigned char, 32>;
  struct Token {
    std::string name;
    Hash sha256{};
    std::vector<Scope> scopes;
  };

  static Hash HashOf(std::string_view token);

  std::vector<Token> tokens_;
};

// Whether only this machine reaches what listens there: 127.0.0.0/8, ::1, localhost.
bool IsLoopback(std::string_view host);

}  // namespace duly
