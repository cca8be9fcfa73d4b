// SPDX-License-Identifier: Apache-2.0
#include "policy/interface/recent_sum.h"

#include <gtest/gtest.h>

namespace duly {
namespace {

using std::chrono::milliseconds;

TimePoint Millis(std::int64_t ms) { return TimePoint(milliseconds(ms)); }

TEST(RecentSum, IsWhatCameInTheRunningSecond) {
  RecentSum sum;
  EXPECT_EQ(sum.Value(Millis(5000)), Duration(0));
  sum.Add(Millis(5000), milliseconds(3));
  sum.Add(Millis(5400), milliseconds(4));
  EXPECT_EQ(sum.Value(Millis(5400)), milliseconds(7));
  EXPECT_EQ(sum.Value(Millis(5999)), milliseconds(7));
}

TEST(RecentSum, ForgetsTheSecondBeforeInProportion) {
  RecentSum sum;
  sum.Add(Millis(5900), milliseconds(100));
  EXPECT_EQ(sum.Value(Millis(6000)), milliseconds(100));
  EXPECT_EQ(sum.Value(Millis(6250)), milliseconds(75));
  sum.Add(Millis(6250), milliseconds(8));
  EXPECT_EQ(sum.Value(Millis(6500)), milliseconds(50 + 8));
  EXPECT_EQ(sum.Value(Millis(7000)), milliseconds(8));
  EXPECT_EQ(sum.Value(Millis(7500)), milliseconds(4));
}

TEST(RecentSum, ForgetsEverythingAfterTwoSeconds) {
  RecentSum sum;
  sum.Add(Millis(5900), milliseconds(100));
  EXPECT_EQ(sum.Value(Millis(7000)), Duration(0));
  // What is added then does not bring it back.
  sum.Add(Millis(7100), milliseconds(1));
  EXPECT_EQ(sum.Value(Millis(7100)), milliseconds(1));
}

TEST(RecentSum, DoesNotOverflowOnHoursOfDeviceTime) {
  RecentSum sum;
  sum.Add(Millis(5000), std::chrono::hours(20));
  EXPECT_EQ(sum.Value(Millis(6500)), std::chrono::hours(10));
}

}  // namespace
}  // namespace duly
