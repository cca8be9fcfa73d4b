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
  device->Start(At(5), {3, 0, milliseconds(10)});
  EXPECT_EQ(EndAll(*device), (Ends{{15, 3}}));
  device->Start(At(40), {0, 0, milliseconds(1)});
  EXPECT_EQ(EndAll(*device), (Ends{{41, 0}}));
}

// 10 ms from 0 and 10 ms from 4: shared until the first has done its 10 (4 alone, 6 at half speed).
TEST(SharedDevice, TimeSlicingSharesOneSpeed) {
  const auto device = MakeSharedDevice({1});
  device->Start(At(0), {0, 0, milliseconds(10)});
  device->Start(At(4), {1, 0, milliseconds(10)});
  EXPECT_EQ(EndAll(*device), (Ends{{16, 0}, {20, 1}}));
}

TEST(SharedDevice, ShorterRunsOvertake) {
  const auto device = MakeSharedDevice({1});
  device->Start(At(0), {0, 0, milliseconds(100)});
  device->Start(At(0), {1, 0, milliseconds(10)});
  device->Start(At(0), {2, 0, milliseconds(20)});
  EXPECT_EQ(EndAll(*device), (Ends{{30, 1}, {50, 2}, {130, 0}}));
}

TEST(SharedDevice, OverlappingRunsGainWhatTheSpeedSays) {
  const auto device = MakeSharedDevice({1, 1.6});
  device->Start(At(0), {0, 0, milliseconds(8)});
  device->Start(At(0), {1, 0, milliseconds(16)});
  // 0.8 each until 10; then 8 are left, alone.
  EXPECT_EQ(EndAll(*device), (Ends{{10, 0}, {18, 1}}));
}

TEST(SharedDevice, IndependentRunsDoNotSlowEachOtherDown) {
  const auto device = MakeSharedDevice(IndependentSpeed(3));
  device->Start(At(0), {0, 0, milliseconds(30)});
  device->Start(At(1), {1, 0, milliseconds(5)});
  device->Start(At(2), {2, 0, milliseconds(5)});
  EXPECT_EQ(EndAll(*device), (Ends{{6, 1}, {7, 2}, {30, 0}}));
}

TEST(SharedDevice, WorkIsCountedAgainstTheMostThatItCanDo) {
  const auto sliced = MakeSharedDevice({1});
  sliced->Start(At(0), {0, 0, milliseconds(10)});
  sliced->Start(At(0), {1, 0, milliseconds(10)});
  EXPECT_DOUBLE_EQ(sliced->FullWorkSeconds(At(15)), 0.015);
  EndAll(*sliced);
  EXPECT_DOUBLE_EQ(sliced->FullWorkSeconds(At(1000)), 0.020);
  const auto cores = MakeSharedDevice(IndependentSpeed(4));
  cores->Start(At(0), {0, 0, milliseconds(10)});
  EXPECT_DOUBLE_EQ(cores->FullWorkSeconds(At(8)), 0.002);
}

TEST(SharedDevice, RunsThatEndAtOnceEndInTheOrderOfTheirStarts) {
  const auto device = MakeSharedDevice({1});
  device->Start(At(0), {7, 0, milliseconds(10)});
  device->Start(At(0), {2, 0, milliseconds(10)});
  EXPECT_EQ(EndAll(*device), (Ends{{20, 7}, {20, 2}}));
}

TEST(CoreSpeed, GrowsUpToTheCores) {
  EXPECT_EQ(CoreSpeed(4, 1, 6), (std::vector<double>{1, 2, 3, 4, 4, 4}));
  EXPECT_EQ(CoreSpeed(4, 2, 3), (std::vector<double>{1, 2, 2}));
  EXPECT_EQ(CoreSpeed(3, 2, 2), (std::vector<double>{1, 1.5}));
}

TEST(SwitchingDevice, LoadsWhatIsNotThere) {
  const auto device = MakeSwitchingDevice({{milliseconds(4), milliseconds(7)}, {}});
  const auto run = [&](std::int64_t at, std::uint32_t program) {
    device->Start(At(at), {0, program, milliseconds(10)});
    const TimePoint end = device->NextEnd();
    device->End();
    return ToNanos(end) / 1'000'000 - at;
  };
  EXPECT_EQ(run(0, 0), 14);
  EXPECT_EQ(run(20, 0), 10);
  EXPECT_EQ(run(5000, 0), 10) << "it stays over idle time";
  EXPECT_EQ(run(6000, 1), 17);
  EXPECT_EQ(run(7000, 0), 14);
  EXPECT_EQ(device->switches(), 2U);
  EXPECT_DOUBLE_EQ(device->FullWorkSeconds(At(9000)), 0.065);
}

TEST(SwitchingDevice, ProgramsOfASetAreThereTogether) {
  const auto device =
      MakeSwitchingDevice({{milliseconds(4), milliseconds(7), milliseconds(5)}, {0, 0, 1}});
  std::vector<std::int64_t> services;
  std::int64_t at = 0;
  for (const std::uint32_t program : {0U, 1U, 0U, 2U, 1U}) {
    device->Start(At(at), {0, program, milliseconds(10)});
    services.push_back(ToNanos(device->NextEnd()) / 1'000'000 - at);
    device->End();
    at += 100;
  }
  EXPECT_EQ(services, (std::vector<std::int64_t>{14, 10, 10, 15, 17}));
  EXPECT_EQ(device->switches(), 2U);
}

}  // namespace
}  // namespace duly
