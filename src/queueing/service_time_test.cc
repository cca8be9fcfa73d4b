// SPDX-License-Identifier: Apache-2.0
#include "queueing/service_time.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

using ::testing::HasSubstr;

constexpr double kSpreads[] = {0, 0.001, 0.009, 0.011, 0.1, 0.3, 0.5, 0.7, 1, 1.5, 4, 20};

TEST(ServiceTime, ValuesKeepTheMoments) {
  for (const double cv2 : kSpreads) {
    const ServiceTime service{0.02, cv2};
    double weight = 0;
    double first = 0;
    double second = 0;
    double before = -1;
    for (const WeightedTime& value : Values(service)) {
      EXPECT_GT(value.time_s, before) << cv2;
      EXPECT_GT(value.weight, 0) << cv2;
      before = value.time_s;
      weight += value.weight;
      first += value.weight * value.time_s;
      second += value.weight * value.time_s * value.time_s;
    }
    EXPECT_NEAR(weight, 1, 1e-12) << cv2;
    EXPECT_NEAR(first, 0.02, 1e-12) << cv2;
    EXPECT_NEAR(second / SecondMoment(service), 1, 1e-3) << cv2;
  }
}

TEST(ServiceTime, MomentsAreThoseOfTheFamily) {
  for (const double cv2 : kSpreads) {
    const ServiceTime service{0.02, cv2};
    RandomStream stream(1, "moments");
    constexpr int kDraws = 60000;
    std::vector<double> squares;
    std::vector<double> cubes;
    for (int i = 0; i < kDraws; ++i) {
      const double t = Draw(service, stream);
      squares.push_back(t * t);
      cubes.push_back(t * t * t);
    }
    const Measured second = MeanOf(squares);
    const Measured third = MeanOf(cubes);
    EXPECT_NEAR(second.value, SecondMoment(service), second.half_width + 1e-12) << cv2;
    EXPECT_NEAR(third.value, ThirdMoment(service), third.half_width + 1e-12) << cv2;
  }
  // Exponential: n! times the mean's power.
  EXPECT_DOUBLE_EQ(ThirdMoment({2, 1}), 48);
  EXPECT_DOUBLE_EQ(ThirdMoment({2, 0}), 8);
}

TEST(ServiceTime, QuantilesOfTheExponential) {
  for (const double q : {0.1, 0.5, 0.95, 0.999}) {
    EXPECT_NEAR(Quantile({3, 1}, q), -3 * std::log(1 - q), 1e-6);
  }
  EXPECT_EQ(Quantile({3, 0}, 0.99), 3);
}

TEST(ServiceTime, ChecksSayWhichBoundBroke) {
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(Check(ClassLoad{0, {1, 0}}).ok());
  EXPECT_THAT(Check(ClassLoad{-1, {1, 0}}).message(), HasSubstr("the rate is -1: expected"));
  EXPECT_THAT(Check(ClassLoad{inf, {1, 0}}).message(), HasSubstr("the rate is inf"));
  EXPECT_THAT(Check(ClassLoad{1, {0, 0}}).message(), HasSubstr("the mean service time is 0"));
  EXPECT_THAT(Check(ClassLoad{1, {1, std::nan("")}}).message(), HasSubstr("variation is nan"));
  EXPECT_EQ(CheckStable(1).code(), StatusCode::kResourceExhausted);
  EXPECT_FALSE(CheckStable(std::nan("")).ok());
  EXPECT_TRUE(CheckStable(0.999).ok());
}

}  // namespace
}  // namespace duly::queueing
