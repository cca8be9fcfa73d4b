// SPDX-License-Identifier: Apache-2.0
#include "base/status.h"

#include <gtest/gtest.h>

#include "base/result.h"

namespace duly {
namespace {

Result<int> Half(int x) {
  if (x % 2 != 0) return Error(StatusCode::kInvalidArgument, "{} is odd", x);
  return x / 2;
}

Result<int> Quarter(int x) {
  DULY_ASSIGN_OR_RETURN(const int half, Half(x));
  DULY_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(Result, CarriesTheValueOrTheFirstFailure) {
  EXPECT_EQ(Quarter(8).value(), 2);
  EXPECT_EQ(Quarter(6).error(), Status(StatusCode::kInvalidArgument, "3 is odd"));
}

TEST(Status, ContextStandsBeforeTheMessage) {
  const Status status(StatusCode::kNotFound, "no file");
  EXPECT_EQ(status.WithContext("loading m").ToString(), "NOT_FOUND: loading m: no file");
  EXPECT_TRUE(Status().WithContext("x").ok());
}

}  // namespace
}  // namespace duly
