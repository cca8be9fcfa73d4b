// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/run_sequence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <thread>
#include <vector>

namespace duly {
namespace {

DeviceSpec Noisy(double cv, std::uint64_t seed, std::string name) {
  DeviceSpec device;
  device.name = std::move(name);
  device.noise_cv = cv;
  device.seed = seed;
  return device;
}

std::vector<double> Factors(const DeviceSpec& device, int count) {
  RunSequence sequence(device);
  std::vector<double> factors;
  for (int i = 0; i < count; ++i) factors.push_back(sequence.Next().factor);
  return factors;
}

TEST(RunSequence, WithoutNoiseEveryRunTakesTheMean) {
  for (const double factor : Factors(Noisy(0, 1, "a"), 10)) EXPECT_EQ(factor, 1);
}

TEST(RunSequence, NoiseHasMeanOneAndTheConfiguredVariation) {
  constexpr int kCount = 20000;
  const double cv = 0.2;
  double sum = 0;
  double squares = 0;
  for (const double factor : Factors(Noisy(cv, 1, "a"), kCount)) {
    EXPECT_GT(factor, 0);
    sum += factor;
    squares += factor * factor;
  }
  const double mean = sum / kCount;
  // Four standard errors of the mean; those of the deviation are wider in the lognormal's tail.
  EXPECT_NEAR(mean, 1, 4 * cv / std::sqrt(kCount));
  EXPECT_NEAR(std::sqrt(squares / kCount - mean * mean), cv, 0.01);
}

TEST(RunSequence, SeedAndDeviceNameMakeTheSequence) {
  EXPECT_EQ(Factors(Noisy(0.1, 7, "a"), 5), Factors(Noisy(0.1, 7, "a"), 5));
  EXPECT_NE(Factors(Noisy(0.1, 7, "a"), 5), Factors(Noisy(0.1, 8, "a"), 5));
  EXPECT_NE(Factors(Noisy(0.1, 7, "a"), 5), Factors(Noisy(0.1, 7, "b"), 5));
}

TEST(RunSequence, NumbersRunsOnceFromSeveralThreads) {
  DeviceSpec device = Noisy(0.1, 7, "a");
  device.fail_every = 4;
  RunSequence sequence(device);
  std::vector<std::vector<RunSequence::Run>> runs(4);
  {
    std::vector<std::jthread> threads;
    for (auto& own : runs) {
      threads.emplace_back([&sequence, &own] {
        for (int i = 0; i < 100; ++i) own.push_back(sequence.Next());
      });
    }
  }
  std::set<std::uint64_t> numbers;
  for (const auto& own : runs) {
    for (const RunSequence::Run& run : own) {
      numbers.insert(run.number);
      EXPECT_EQ(run.fails, run.number % 4 == 0);
    }
  }
  EXPECT_EQ(numbers.size(), 400U);
  EXPECT_EQ(*numbers.begin(), 1U);
  EXPECT_EQ(*numbers.rbegin(), 400U);
}

}  // namespace
}  // namespace duly
