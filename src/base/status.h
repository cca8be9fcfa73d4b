// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace duly {

// The canonical codes (those of gRPC that Duly uses). What the caller should do stands beside each.
enum class StatusCode {
  kOk = 0,
  kCancelled = 1,           // the caller gave up: nothing to do
  kInvalidArgument = 3,     // the request is wrong: do not retry it unchanged
  kDeadlineExceeded = 4,    // too late: retry only with a later deadline
  kNotFound = 5,            // no such model, file, tensor: fix the name
  kAlreadyExists = 6,       // fix the name
  kPermissionDenied = 7,    // do not retry
  kResourceExhausted = 8,   // overload: retry after a pause
  kFailedPrecondition = 9,  // the state forbids it: fix the state first
  kUnimplemented = 12,      // never will work here: do not retry
  kInternal = 13,           // a bug or a broken back end: report it
  kUnavailable = 14,        // starting, draining: retry elsewhere or later
  kUnauthenticated = 16,    // nobody said, or proved, who asks: send a known token
};

std::string_view ToString(StatusCode code);

// Success, or a code with a message for a person. Cheap to move; success allocates nothing.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same failure with context put before the message, for use on the way up: "loading x: ...".
  Status WithContext(std::string_view context) const;
  // "INVALID_ARGUMENT: message", or "OK".
  std::string ToString() const;

  friend bool operator==(const Status&, const Status&) = default;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

}  // namespace duly
