// SPDX-License-Identifier: Apache-2.0
//
// The one place where outcomes and failures get their HTTP and gRPC codes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/outcome.h"
#include "runtime/infer.h"

namespace duly {

// The HTTP code of a failure. The gRPC code is StatusCode's own number.
std::uint16_t HttpCode(StatusCode code);
// "Service Unavailable"; empty for codes that Duly does not send.
std::string_view HttpReason(std::uint16_t http_code);

// A failure that may succeed when it is tried again after a while: 503 and gRPC's UNAVAILABLE and
// RESOURCE_EXHAUSTED.
bool IsRetryable(StatusCode code);

// What a request that ended with `response` is told: success for kOnTime and kLate, otherwise a
// message for a person.
//   kRejected  RESOURCE_EXHAUSTED, or UNAVAILABLE when the node drains or the model is gone
//   kExpired   DEADLINE_EXCEEDED
//   kCancelled CANCELLED
//   kFailed    INTERNAL, whatever the back end said
Status StatusOf(const InferResponse& response, std::string_view model);

// Value of the header Retry-After: whole seconds, at least 1.
std::int64_t RetryAfterSeconds(Duration retry_after);

}  // namespace duly
