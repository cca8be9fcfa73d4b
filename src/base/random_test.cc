// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace duly {
namespace {

TEST(PortableLog, AgreesWithLibm) {
  for (double x = 1e-12; x < 1e12; x *= 1.37) {
    EXPECT_NEAR(PortableLog(x), std::log(x), 1e-14 * std::max(1.0, std::abs(std::log(x)))) << x;
  }
}

TEST(PortableExp, AgreesWithLibm) {
  for (double x = -50; x < 50; x += 0.37) {
    EXPECT_NEAR(PortableExp(x) / std::exp(x), 1.0, 1e-13) << x;
  }
}

TEST(PortableSinTurns, AgreesWithLibm) {
  for (double turns = -3; turns < 3; turns += 0.0137) {
    EXPECT_NEAR(PortableSinTurns(turns), std::sin(2 * std::numbers::pi * turns), 1e-14) << turns;
  }
  EXPECT_EQ(PortableSinTurns(1e6), 0);
}

TEST(RandomStream, GivesTheSameNumbersOnEveryMachine) {
  RandomStream stream(1, "arrivals/detector");
  const std::uint64_t first = stream.Bits();
  RandomStream again(1, "arrivals/detector");
  EXPECT_EQ(again.Bits(), first);
  RandomStream golden(42, "golden");
  std::uint64_t hash = 0;
  for (int i = 0; i < 1000; ++i) hash = hash * 31 + golden.Bits();
  EXPECT_EQ(hash, 9414891002944922905U);
}

TEST(RandomStream, StreamsOfOtherNamesAndSeedsDiffer) {
  RandomStream a(1, "a");
  RandomStream b(1, "b");
  RandomStream c(2, "a");
  const std::uint64_t first = a.Bits();
  EXPECT_NE(first, b.Bits());
  EXPECT_NE(first, c.Bits());
}

TEST(RandomStream, MomentsAreThoseOfTheDistributions) {
  RandomStream stream(7, "moments");
  constexpr int kDraws = 200000;
  double exponential = 0;
  double lognormal = 0;
  double lognormal2 = 0;
  double normal2 = 0;
  for (int i = 0; i < kDraws; ++i) {
    exponential += stream.Exponential(3.0);
    const double l = stream.Lognormal(2.0, 0.5);
    lognormal += l;
    lognormal2 += l * l;
    const double n = stream.Normal();
    normal2 += n * n;
  }
  // Five standard errors each.
  EXPECT_NEAR(exponential / kDraws, 3.0, 5 * 3.0 / std::sqrt(kDraws));
  EXPECT_NEAR(lognormal / kDraws, 2.0, 5 * 1.0 / std::sqrt(kDraws));
  EXPECT_NEAR(lognormal2 / kDraws - 4.0, 1.0, 0.1);
  EXPECT_NEAR(normal2 / kDraws, 1.0, 5 * std::sqrt(2.0 / kDraws));
}

TEST(RandomStream, BelowIsUniformAndInRange) {
  RandomStream stream(3, "below");
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts.at(stream.Below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);
}

}  // namespace
}  // namespace duly
