// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/http_response.h"
#include "cli/load_target.h"

namespace duly {

// What the server reports of an answered request (NaN and 0 where it says nothing), and what a
// comparison with the expected answers gave.
struct AnswerNumbers {
  float queue_us = std::numeric_limits<float>::quiet_NaN();
  float compute_us = std::numeric_limits<float>::quiet_NaN();  // of the batch
  float predicted_us = std::numeric_limits<float>::quiet_NaN();
  float accuracy_pct = std::numeric_limits<float>::quiet_NaN();
  std::uint32_t batch_rows = 0;
  std::uint32_t checked_rows = 0;
  std::uint32_t correct_rows = 0;
};

struct Answer {
  AnswerNumbers numbers;
  std::string_view variant;  // valid until the reader's next use
  std::string_view device;
};

// Reads bodies of inference responses. Threading: one thread at a time.
class AnswerReader {
 public:
  AnswerReader();
  ~AnswerReader();

  // The body of a successful response to the target's request with this sequence number; looks only
  // at what the target wants to know. Nothing when it is not such a response.
  std::optional<Answer> Read(const HttpResponseReader& response, const LoadTarget& target,
                             std::uint32_t sequence);
  // Why a request was refused or failed, in few words: the body's "reason", or the HTTP status with
  // the body's "error".
  std::string ReadReason(const HttpResponseReader& response);

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace duly
