// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/run_sequence.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

namespace duly {
namespace {

TEST(RunSequence, NumbersRunsOnceFromSeveralThreads) {
  DeviceSpec device;
  device.noise_cv = 0.1;
  device.fail_every = 4;
  RunSequence sequence(device);
  std::vector<std::vector<ServiceNoise::Run>> runs(4);
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
    for (const ServiceNoise::Run& run : own) {
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
