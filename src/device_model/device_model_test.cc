// SPDX-License-Identifier: Apache-2.0
#include "device_model/device_model.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace duly {
namespace {

using std::chrono::milliseconds;

TimePoint At(std::int64_t ms) { return TimePoint(milliseconds(ms)); }

// (end in ms, slot) of everything that runs.
std::vector<std::pair<std::int64_t, std::uint32_t>> EndAll(DeviceModel& device) {
  std::vector<std::pair<std::int64_t, std::uint32_t>> ends;
  while (device.NextEnd() != kNever) {
    const std::int64_t end_ms = ToNanos(device.NextEnd()) / 1'000'000;
    ends.emplace_back(end_ms, device.End());
  }
  return ends;
}
using Ends = std::vector<std::pair<std::int64_t, std::uint32_t>>;

TEST(SharedDevice, ARunAloneTakesItsTime) {
  const auto device = MakeSharedDevice({1});
  EXPECT_EQ(device->NextEnd(), kNever);
  device->Start(At(5), {3, milliseconds(10)});
  EXPECT_EQ(EndAll(*device), (Ends{{15, 3}}));
  device->Start(At(40), {0, milliseconds(1)});
  EXPECT_EQ(EndAll(*device), (Ends{{41, 0}}));
}

// 10 ms from 0 and 10 ms from 4: shared until the first has done its 10 (4 alone, 6 at half speed).
TEST(SharedDevice, TimeSlicingSharesOneSpeed) {
  const auto device = MakeSharedDevice({1});
  device->Start(At(0), {0, milliseconds(10)});
  device->Start(At(4), {1, milliseconds(10)});
  EXPECT_EQ(EndAll(*device), (Ends{{16, 0}, {20, 1}}));
}

TEST(SharedDevice, ShorterRunsOvertake) {
  const auto device = MakeSharedDevice({1});
  device->Start(At(0), {0, milliseconds(100)});
  device->Start(At(0), {1, milliseconds(10)});
  device->Start(At(0), {2, milliseconds(20)});
  EXPECT_EQ(EndAll(*device), (Ends{{30, 1}, {50, 2}, {130, 0}}));
}

TEST(SharedDevice, OverlappingRunsGainWhatTheSpeedSays) {
  const auto device = MakeSharedDevice({1, 1.6});
  device->Start(At(0), {0, milliseconds(8)});
  device->Start(At(0), {1, milliseconds(16)});
  // 0.8 each until 10; then 8 are left, alone.
  EXPECT_EQ(EndAll(*device), (Ends{{10, 0}, {18, 1}}));
}

TEST(SharedDevice, IndependentRunsDoNotSlowEachOtherDown) {
  const auto device = MakeSharedDevice(IndependentSpeed(3));
  device->Start(At(0), {0, milliseconds(30)});
  device->Start(At(1), {1, milliseconds(5)});
  device->Start(At(2), {2, milliseconds(5)});
  EXPECT_EQ(EndAll(*device), (Ends{{6, 1}, {7, 2}, {30, 0}}));
}

TEST(SharedDevice, WorkIsCountedAgainstTheMostThatItCanDo) {
  const auto sliced = MakeSharedDevice({1});
  sliced->Start(At(0), {0, milliseconds(10)});
  sliced->Start(At(0), {1, milliseconds(10)});
  EXPECT_DOUBLE_EQ(sliced->FullWorkSeconds(At(15)), 0.015);
  EndAll(*sliced);
  EXPECT_DOUBLE_EQ(sliced->FullWorkSeconds(At(1000)), 0.020);
  const auto cores = MakeSharedDevice(IndependentSpeed(4));
  cores->Start(At(0), {0, milliseconds(10)});
  EXPECT_DOUBLE_EQ(cores->FullWorkSeconds(At(8)), 0.002);
}

TEST(SharedDevice, RunsThatEndAtOnceEndInTheOrderOfTheirStarts) {
  const auto device = MakeSharedDevice({1});
  device->Start(At(0), {7, milliseconds(10)});
  device->Start(At(0), {2, milliseconds(10)});
  EXPECT_EQ(EndAll(*device), (Ends{{20, 7}, {20, 2}}));
}

TEST(CoreSpeed, GrowsUpToTheCores) {
  EXPECT_EQ(CoreSpeed(4, 1, 6), (std::vector<double>{1, 2, 3, 4, 4, 4}));
  EXPECT_EQ(CoreSpeed(4, 2, 3), (std::vector<double>{1, 2, 2}));
  EXPECT_EQ(CoreSpeed(3, 2, 2), (std::vector<double>{1, 1.5}));
}

TEST(MakeDeviceModel, EveryMechanismTakesItsTime) {
  DeviceBehaviour serial;
  serial.slots = 2;
  DeviceBehaviour sliced;
  sliced.mechanism = DeviceMechanism::kTimeslice;
  DeviceBehaviour concurrent;
  concurrent.mechanism = DeviceMechanism::kConcurrent;
  concurrent.speed = {1, 1.6};
  DeviceBehaviour cpu;
  cpu.mechanism = DeviceMechanism::kCpu;
  cpu.cores = 3;
  cpu.threads = 2;
  cpu.slots = 2;
  const auto ends = [](const DeviceBehaviour& behaviour) {
    const auto device = MakeDeviceModel(behaviour);
    device->Start(At(0), {0, milliseconds(12)});
    device->Start(At(0), {1, milliseconds(12)});
    return EndAll(*device);
  };
  EXPECT_EQ(ends(serial), (Ends{{12, 0}, {12, 1}}));
  EXPECT_EQ(ends(sliced), (Ends{{24, 0}, {24, 1}}));
  EXPECT_EQ(ends(concurrent), (Ends{{15, 0}, {15, 1}}));
  EXPECT_EQ(ends(cpu), (Ends{{16, 0}, {16, 1}}));
}

struct Program {
  const char* model;
  const char* variant = "default";
};

// How long each of them runs, 10 ms of which are its own.
std::vector<std::int64_t> Services(const DeviceBehaviour& behaviour, DeviceModel& device,
                                   const std::vector<Program>& programs) {
  OnChipSets sets(behaviour);
  std::vector<std::int64_t> services;
  std::int64_t at = 0;
  for (const Program& program : programs) {
    device.Start(At(at), {0, milliseconds(10), sets.Of(program.model, program.variant)});
    services.push_back(ToNanos(device.NextEnd()) / 1'000'000 - at);
    device.End();
    at += 1000;
  }
  return services;
}

DeviceBehaviour EdgeTpu() {
  DeviceBehaviour device;
  device.mechanism = DeviceMechanism::kEdgeTpu;
  device.swap = {{"a", milliseconds(4)}, {"b", milliseconds(7)}, {"c", milliseconds(5)}};
  return device;
}

TEST(SwitchingDevice, LoadsWhatIsNotThere) {
  const auto device = MakeDeviceModel(EdgeTpu());
  EXPECT_EQ(Services(EdgeTpu(), *device, {{"a"}, {"a"}, {"b"}, {"a"}, {"a", "small"}, {"d"}}),
            (std::vector<std::int64_t>{14, 10, 17, 14, 14, 10}));
  EXPECT_EQ(device->switches(), 4U);
  EXPECT_DOUBLE_EQ(device->FullWorkSeconds(At(9000)), 0.079);
}

TEST(SwitchingDevice, ProgramsOfASetAreThereTogether) {
  DeviceBehaviour behaviour = EdgeTpu();
  behaviour.co_resident = {{"a", "b"}};
  const auto device = MakeDeviceModel(behaviour);
  EXPECT_EQ(Services(behaviour, *device, {{"a"}, {"b"}, {"a", "small"}, {"c"}, {"b"}}),
            (std::vector<std::int64_t>{14, 10, 10, 15, 17}));
  EXPECT_EQ(device->switches(), 2U);
}

}  // namespace
}  // namespace duly
