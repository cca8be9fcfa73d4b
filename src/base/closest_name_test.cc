// SPDX-License-Identifier: Apache-2.0
#include "base/closest_name.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace duly {
namespace {

constexpr std::array<std::string_view, 4> kKnown{"slots", "threads", "max_batch_size", "slo"};

TEST(ClosestName, FindsMisspellings) {
  EXPECT_EQ(ClosestName("slot", kKnown), "slots");
  EXPECT_EQ(ClosestName("solts", kKnown), "slots");
  EXPECT_EQ(ClosestName("thraeds", kKnown), "threads");
  EXPECT_EQ(ClosestName("max_batchsize", kKnown), "max_batch_size");
  EXPECT_EQ(ClosestName("lso", kKnown), "slo");
}

TEST(ClosestName, SaysNothingOfWhatIsFar) {
  EXPECT_EQ(ClosestName("memory", kKnown), "");
  EXPECT_EQ(ClosestName("s", kKnown), "");
  EXPECT_EQ(ClosestName("", kKnown), "");
  EXPECT_EQ(ClosestName(std::string(1'000'000, 's'), kKnown), "");
}

TEST(ClosestName, PrefersTheNearestAndThenTheFirst) {
  constexpr std::array<std::string_view, 3> known{"abcdef", "abcdxx", "abcdxy"};
  EXPECT_EQ(ClosestName("abcdxz", known), "abcdxx");
}

}  // namespace
}  // namespace duly
