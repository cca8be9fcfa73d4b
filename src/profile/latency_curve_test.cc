// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "profile/profile.h"

namespace duly {
namespace {

ProfilePoint Point(std::uint32_t rows, std::int64_t mean_ns) {
  ProfilePoint point;
  point.rows = rows;
  point.mean = Duration(mean_ns);
  return point;
}

TEST(LatencyCurve, InterpolatesBetweenAndExtendsBeyondTheMeasuredRows) {
  const LatencyCurve curve =
      LatencyCurve::Create(std::vector{Point(1, 1000), Point(4, 2500), Point(8, 4500)}).value();
  EXPECT_EQ(curve.Mean(1), Duration(1000));
  EXPECT_EQ(curve.Mean(2), Duration(1500));
  EXPECT_EQ(curve.Mean(8), Duration(4500));
  EXPECT_EQ(curve.Mean(10), Duration(5500));
}

TEST(LatencyCurve, IsTheSameLineForFewAndForManyRows) {
  const LatencyCurve curve =
      LatencyCurve::Create(std::vector{Point(2, 300), Point(100, 10100)}).value();
  EXPECT_EQ(curve.Mean(1), Duration(150));
  for (std::uint32_t rows = 2; rows <= 300; ++rows) {
    EXPECT_EQ(curve.Mean(rows), Duration(100 + 100 * static_cast<std::int64_t>(rows)));
  }
  EXPECT_EQ(LatencyCurve().Mean(1), Duration(0));
  EXPECT_EQ(LatencyCurve().Mean(1000), Duration(0));
}

TEST(LatencyCurve, IsProportionalToASinglePoint) {
  EXPECT_EQ(LatencyCurve::Create(std::vector{Point(4, 400)}).value().Mean(8), Duration(800));
}

TEST(LatencyCurve, NeverFallsWithMoreRows) {
  const LatencyCurve curve =
      LatencyCurve::Create(std::vector{Point(1, 1000), Point(2, 900), Point(4, 1200)}).value();
  EXPECT_EQ(curve.Mean(2), Duration(1000));
}

TEST(LatencyCurve, RefusesPointsThatMakeNoSense) {
  EXPECT_FALSE(LatencyCurve::Create(std::vector{Point(2, 10), Point(1, 5)}).has_value());
  EXPECT_FALSE(LatencyCurve::Create(std::vector{Point(1, 0)}).has_value());
  EXPECT_FALSE(LatencyCurve::Create(std::vector{Point(0, 5)}).has_value());
}

}  // namespace
}  // namespace duly
