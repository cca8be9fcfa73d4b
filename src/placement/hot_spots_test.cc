// SPDX-License-Identifier: Apache-2.0
#include "placement/hot_spots.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace duly::placement {
namespace {

// One application at 10 answers a second.
class HotSpotsOf : public ::testing::Test {
 protected:
  // Windows of 10 s in which this share of the answers is late; how often it became hot.
  int Windows(HotSpots& spots, int count, double late_share) {
    int became = 0;
    for (int i = 0; i < 101 * count; ++i) {
      now_ += std::chrono::milliseconds(100);
      const bool late = stream_.Uniform() < late_share;
      became += spots.Add(0, now_, late ? 0.3 : 0.1) ? 1 : 0;
    }
    return became;
  }

  TimePoint now_{};
  RandomStream stream_{1, "answers"};
};

TEST_F(HotSpotsOf, WhatKeepsItsSloNarrowlyIsNeverHot) {
  HotSpots spots({{0.2, 0.95}}, {});
  EXPECT_EQ(Windows(spots, 2000, 0.05), 0);
}

TEST_F(HotSpotsOf, WhatLeavesItIsFoundAfterThreeWindows) {
  HotSpots spots({{0.2, 0.95}}, {});
  Windows(spots, 10, 0.03);
  EXPECT_EQ(Windows(spots, 2, 0.3), 0);
  EXPECT_FALSE(spots.is_hot(0));
  EXPECT_EQ(Windows(spots, 1, 0.3), 1);
  EXPECT_TRUE(spots.is_hot(0));
  // Said once.
  EXPECT_EQ(Windows(spots, 5, 0.3), 0);
}

TEST_F(HotSpotsOf, ABurstMovesNobodyAndCoolingTakesLonger) {
  HotSpots spots({{0.2, 0.95}}, {});
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Windows(spots, 2, 0.5), 0);
    EXPECT_EQ(Windows(spots, 1, 0.0), 0);
  }
  EXPECT_EQ(Windows(spots, 3, 0.5), 1);
  Windows(spots, 5, 0.0);
  EXPECT_TRUE(spots.is_hot(0));
  Windows(spots, 1, 0.0);
  EXPECT_FALSE(spots.is_hot(0));
}

TEST_F(HotSpotsOf, RequestsWithoutAnswerAreLate) {
  HotSpots spots({{0.2, 0.95}}, {});
  int became = 0;
  for (int i = 0; i < 400; ++i) {
    now_ += std::chrono::milliseconds(100);
    became += spots.Add(0, now_, std::nullopt) ? 1 : 0;
  }
  EXPECT_EQ(became, 1);
  spots.Reset(0);
  EXPECT_FALSE(spots.is_hot(0));
}

TEST_F(HotSpotsOf, MeansAreJudgedByTheirStandardError) {
  HotSpots spots({{0.2, 0}}, {});
  // Mean 0.1 + 0.2 * share.
  EXPECT_EQ(Windows(spots, 2000, 0.5), 0);
  EXPECT_EQ(Windows(spots, 3, 0.9), 1);
}

TEST_F(HotSpotsOf, TooFewAnswersSayNothing) {
  HotSpots spots({{0.2, 0.95}}, {});
  for (int i = 0; i < 19 * 3; ++i) {
    now_ += std::chrono::seconds(60);
    EXPECT_FALSE(spots.Add(0, now_, 9));
  }
}

}  // namespace
}  // namespace duly::placement
