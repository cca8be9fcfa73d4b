// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/emulated_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "backend/common/monotonic.h"

namespace duly {
namespace {

using std::chrono::milliseconds;

DeviceSpec Spec(DeviceMechanism mechanism, std::uint32_t slots) {
  DeviceSpec device;
  device.name = "d";
  device.slots = slots;
  device.behaviour.mechanism = mechanism;
  return device;
}

constexpr double kRunNs = 3e6;

// From the start of two runs until both have ended. The machine may add to it: the least of
// several.
Duration LeastOfTwoAtOnce(const DeviceSpec& spec) {
  Duration least = Duration::max();
  for (int i = 0; i < 8; ++i) {
    EmulatedDevice device(spec);
    const Duration before = MonotonicNow();
    const EmulatedDevice::Run first = device.Start(kRunNs, {});
    const EmulatedDevice::Run second = device.Start(kRunNs, {});
    {
      const std::jthread other([&] { device.AwaitEnd(second); });
      device.AwaitEnd(first);
    }
    least = std::min(least, MonotonicNow() - before);
  }
  return least;
}

TEST(EmulatedDevice, IndependentRunsDoNotSlowEachOtherDown) {
  const Duration took = LeastOfTwoAtOnce(Spec(DeviceMechanism::kSerial, 2));
  EXPECT_GE(took, milliseconds(3));
  EXPECT_LT(took, milliseconds(6));
}

TEST(EmulatedDevice, TimeSlicesShareOneSpeed) {
  const Duration took = LeastOfTwoAtOnce(Spec(DeviceMechanism::kTimeslice, 2));
  EXPECT_GE(took, milliseconds(6));
  EXPECT_LT(took, milliseconds(9));
}

// The second run begins when the first one is nearly through: its start delays the first one's end.
TEST(EmulatedDevice, ALaterStartMovesTheEndOfWhatRuns) {
  EmulatedDevice device(Spec(DeviceMechanism::kTimeslice, 2));
  const Duration before = MonotonicNow();
  const EmulatedDevice::Run first = device.Start(kRunNs, {});
  Duration first_took{0};
  Duration alone{0};
  {
    const std::jthread other([&] {
      device.AwaitEnd(first);
      first_took = MonotonicNow() - before;
    });
    SleepUntilMonotonic(before + milliseconds(1));
    device.Start(10 * kRunNs, {});
    alone = MonotonicNow() - before;
  }
  // What was left of the first run when the second one began took twice its time.
  EXPECT_GE(first_took, milliseconds(3) + std::max(Duration(0), milliseconds(3) - alone));
}

TEST(EmulatedDevice, WhatIsNotOnChipIsLoaded) {
  DeviceSpec spec = Spec(DeviceMechanism::kEdgeTpu, 1);
  spec.behaviour.swap = {{"a", milliseconds(4)}, {"b", milliseconds(2)}};
  EmulatedDevice device(spec);
  const auto least = [&](const char* first, const char* second) {
    Duration took = Duration::max();
    for (int i = 0; i < 5; ++i) {
      device.AwaitEnd(device.Start(1, device.OnChipOf(first, "v")));
      const Duration before = MonotonicNow();
      device.AwaitEnd(device.Start(1e6, device.OnChipOf(second, "v")));
      took = std::min(took, MonotonicNow() - before);
    }
    return took;
  };
  EXPECT_GE(least("b", "a"), milliseconds(5));
  EXPECT_GE(least("a", "b"), milliseconds(3));
  EXPECT_LT(least("a", "a"), milliseconds(3));
}

// Also those that begin beside as many as there are slots, as warm-up runs do.
TEST(EmulatedDevice, NumbersRunsOnceFromSeveralThreads) {
  DeviceSpec spec = Spec(DeviceMechanism::kSerial, 2);
  spec.behaviour.noise = {NoiseSpec::Kind::kLognormal, 0.1};
  spec.behaviour.fail_every = 4;
  EmulatedDevice device(spec);
  std::vector<std::vector<ServiceNoise::Run>> runs(4);
  {
    std::vector<std::jthread> threads;
    for (auto& own : runs) {
      threads.emplace_back([&device, &own] {
        for (int i = 0; i < 100; ++i) {
          const EmulatedDevice::Run run = device.Start(1, {});
          device.AwaitEnd(run);
          own.push_back(run.noise);
        }
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
  EXPECT_EQ(*numbers.rbegin(), 400U);
}

}  // namespace
}  // namespace duly
