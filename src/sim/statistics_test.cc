// SPDX-License-Identifier: Apache-2.0
#include "sim/statistics.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace duly::sim {
namespace {

// Printed tables of the t distribution.
TEST(Student, QuantilesAreThoseOfTheTables) {
  EXPECT_NEAR(StudentQuantile(0.975, 1), 12.7062047, 1e-5);
  EXPECT_NEAR(StudentQuantile(0.975, 2), 4.3026527, 1e-6);
  EXPECT_NEAR(StudentQuantile(0.975, 9), 2.2621572, 1e-6);
  EXPECT_NEAR(StudentQuantile(0.975, 19), 2.0930241, 1e-6);
  EXPECT_NEAR(StudentQuantile(0.975, 1000), 1.9623391, 1e-6);
  EXPECT_NEAR(StudentQuantile(0.95, 4), 2.1318468, 1e-6);
  EXPECT_NEAR(StudentQuantile(0.6, 10), 0.2601848, 1e-6);
  EXPECT_EQ(StudentQuantile(0.5, 7), 0);
}

TEST(IntervalOf, OneValueHasNoWidth) {
  const std::vector<double> one{7};
  EXPECT_EQ(IntervalOf(one).mean, 7);
  EXPECT_EQ(IntervalOf(one).half, 0);
}

// 19 of 20 intervals hold the truth: 2 000 trials, four standard errors.
TEST(IntervalOf, HoldsTheTruthAsOftenAsItSays) {
  RandomStream random(1, "interval");
  int held = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<double> values;
    for (int i = 0; i < 5; ++i) values.push_back(3 + 2 * random.Normal());
    const MeanInterval interval = IntervalOf(values);
    held += interval.mean - interval.half <= 3 && 3 <= interval.mean + interval.half;
  }
  EXPECT_NEAR(held, 1900, 4 * 9.75);
}

}  // namespace
}  // namespace duly::sim
