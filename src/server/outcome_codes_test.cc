// SPDX-License-Identifier: Apache-2.0
#include "server/outcome_codes.h"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

namespace duly {
namespace {

using std::chrono::milliseconds;

TEST(OutcomeCodes, EveryOutcomeHasTheCodesOfTheContract) {
  const std::vector<std::tuple<Outcome, RejectReason, int, StatusCode>> table{
      {Outcome::kOnTime, RejectReason::kNone, 200, StatusCode::kOk},
      {Outcome::kLate, RejectReason::kNone, 200, StatusCode::kOk},
      {Outcome::kRejected, RejectReason::kQueueFull, 503, StatusCode::kResourceExhausted},
      {Outcome::kRejected, RejectReason::kPredictedLate, 503, StatusCode::kResourceExhausted},
      {Outcome::kRejected, RejectReason::kYielded, 503, StatusCode::kResourceExhausted},
      {Outcome::kRejected, RejectReason::kShuttingDown, 503, StatusCode::kUnavailable},
      {Outcome::kRejected, RejectReason::kModelUnavailable, 503, StatusCode::kUnavailable},
      {Outcome::kExpired, RejectReason::kNone, 504, StatusCode::kDeadlineExceeded},
      {Outcome::kCancelled, RejectReason::kNone, 499, StatusCode::kCancelled},
      {Outcome::kFailed, RejectReason::kNone, 500, StatusCode::kInternal},
  };
  for (const auto& [outcome, reason, http, status] : table) {
    InferResponse response;
    response.outcome = outcome;
    response.reason = reason;
    const Status got = StatusOf(response, "m");
    EXPECT_EQ(got.code(), status) << ToString(outcome) << ' ' << ToString(reason);
    EXPECT_EQ(HttpCode(got.code()), http) << ToString(outcome) << ' ' << ToString(reason);
    EXPECT_EQ(IsRetryable(got.code()), http == 503);
    EXPECT_FALSE(HttpReason(HttpCode(got.code())).empty());
    EXPECT_TRUE(got.ok() || got.message().starts_with("model 'm': "));
  }
}

TEST(OutcomeCodes, AFailureSaysWhatTheBackEndSaidButIsAlwaysInternal) {
  InferResponse response;
  response.status = Status(StatusCode::kInvalidArgument, "bad node 'conv1'");
  EXPECT_EQ(StatusOf(response, "m"),
            Status(StatusCode::kInternal, "model 'm': execution failed: bad node 'conv1'"));
}

TEST(OutcomeCodes, ClientFaultsAreNotServerFaults) {
  EXPECT_EQ(HttpCode(StatusCode::kInvalidArgument), 400);
  EXPECT_EQ(HttpCode(StatusCode::kNotFound), 404);
  EXPECT_EQ(HttpCode(StatusCode::kUnimplemented), 501);
  EXPECT_EQ(HttpCode(StatusCode::kUnauthenticated), 401);
  EXPECT_EQ(HttpReason(401), "Unauthorized");
  EXPECT_EQ(HttpCode(StatusCode::kPermissionDenied), 403);
}

TEST(OutcomeCodes, RetryAfterIsWholeSecondsRoundedUp) {
  EXPECT_EQ(RetryAfterSeconds(Duration(0)), 1);
  EXPECT_EQ(RetryAfterSeconds(milliseconds(20)), 1);
  EXPECT_EQ(RetryAfterSeconds(milliseconds(1000)), 1);
  EXPECT_EQ(RetryAfterSeconds(milliseconds(1001)), 2);
}

}  // namespace
}  // namespace duly
