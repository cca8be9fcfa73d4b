// SPDX-License-Identifier: Apache-2.0
#include "backend/common/monotonic.h"

#include <gtest/gtest.h>

#include <chrono>

namespace duly {
namespace {

TEST(SleepUntilMonotonic, IsNeverEarly) {
  for (int i = 0; i < 20; ++i) {
    const Duration until = MonotonicNow() + std::chrono::microseconds(137 * i);
    SleepUntilMonotonic(until);
    EXPECT_GE(MonotonicNow(), until);
  }
}

TEST(SleepUntilMonotonic, ReturnsAtOnceWhenTheTimeHasPassed) {
  SleepUntilMonotonic(Duration(0));
  SleepUntilMonotonic(Duration(-5));
  SleepUntilMonotonic(MonotonicNow() - std::chrono::hours(1));
}

}  // namespace
}  // namespace duly
