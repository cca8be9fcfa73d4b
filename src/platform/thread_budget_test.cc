// SPDX-License-Identifier: Apache-2.0
#include "platform/thread_budget.h"

#include <gtest/gtest.h>

namespace duly {
namespace {

using Cores = std::vector<std::uint32_t>;

const CpuBudget kFour{{0, 1, 2, 3}, std::nullopt};

DeviceSpec Cpu(std::string name, std::uint32_t slots, std::uint32_t threads, Cores cores = {}) {
  DeviceSpec device;
  device.name = std::move(name);
  device.slots = slots;
  device.threads_per_slot = threads;
  device.cores = std::move(cores);
  return device;
}

enum class Computes { kNo, kYes };
DeviceSpec Emulated(std::string name, std::uint32_t slots, Computes computes) {
  DeviceSpec device = Cpu(std::move(name), slots, 1);
  device.kind = DeviceKind::kEmulated;
  device.compute = computes == Computes::kYes;
  return device;
}

std::string FaultOf(std::vector<DeviceSpec> devices, const CpuBudget& budget) {
  return CheckThreadBudget(devices, budget).message();
}

TEST(ThreadBudget, OneDeviceTakesWhatTheQuotaAllows) {
  std::vector<DeviceSpec> devices{Cpu("cpu", 0, 1)};
  ASSERT_TRUE(CheckThreadBudget(devices, kFour).ok());
  EXPECT_EQ(devices[0].slots, 4u);
  EXPECT_TRUE(devices[0].cores.empty()) << "not pinned";

  devices = {Cpu("cpu", 0, 1)};
  ASSERT_TRUE(CheckThreadBudget(devices, {{0, 1, 2, 3}, 2.5}).ok());
  EXPECT_EQ(devices[0].slots, 2u);

  devices = {Cpu("cpu", 0, 3)};
  ASSERT_TRUE(CheckThreadBudget(devices, kFour).ok());
  EXPECT_EQ(devices[0].slots, 1u);

  devices = {Cpu("cpu", 0, 1)};
  ASSERT_TRUE(CheckThreadBudget(devices, {{0}, 0.1}).ok());
  EXPECT_EQ(devices[0].slots, 1u);
}

TEST(ThreadBudget, DevicesShareWhatIsLeft) {
  std::vector<DeviceSpec> devices{Cpu("a", 0, 1), Cpu("b", 0, 1), Cpu("c", 1, 1),
                                  Emulated("e", 1, Computes::kNo)};
  ASSERT_TRUE(CheckThreadBudget(devices, kFour).ok());
  EXPECT_EQ(devices[0].slots, 2u);
  EXPECT_EQ(devices[1].slots, 1u);
  EXPECT_EQ(devices[2].slots, 1u);
}

TEST(ThreadBudget, NamedCoresGiveTheSlotsAndLeaveTheOthers) {
  std::vector<DeviceSpec> devices{Cpu("a", 0, 1, {1, 3}), Cpu("b", 0, 2)};
  ASSERT_TRUE(CheckThreadBudget(devices, kFour).ok());
  EXPECT_EQ(devices[0].slots, 2u);
  EXPECT_EQ(devices[0].cores, (Cores{1, 3}));
  EXPECT_EQ(devices[1].slots, 1u);
  EXPECT_EQ(devices[1].cores, (Cores{0, 2}));
}

TEST(ThreadBudget, EmulatedDevicesCountOnlyWhenTheyCompute) {
  std::vector<DeviceSpec> devices{Emulated("e", 0, Computes::kNo), Emulated("f", 64, Computes::kNo),
                                  Emulated("g", 0, Computes::kYes), Cpu("cpu", 0, 1)};
  ASSERT_TRUE(CheckThreadBudget(devices, kFour).ok());
  EXPECT_EQ(devices[0].slots, 1u);
  EXPECT_EQ(devices[1].slots, 64u);
  EXPECT_EQ(devices[2].slots, 1u);
  EXPECT_EQ(devices[3].slots, 3u);
}

TEST(ThreadBudget, RefusesMoreThreadsThanCores) {
  EXPECT_EQ(
      FaultOf({Cpu("a", 2, 2), Emulated("g", 1, Computes::kYes)}, kFour),
      "devices have 5 threads runnable at once ('a' 2 x 2, 'g' 1 x 1): expected at most 4, as "
      "this process may use (4 cores)");
  EXPECT_EQ(FaultOf({Cpu("a", 2, 1)}, {{0, 1}, 1.5}),
            "devices have 2 threads runnable at once ('a' 2 x 1): expected at most 1, as this "
            "process may use (2 cores, a quota of 1.5)");
  EXPECT_EQ(
      FaultOf({Cpu("a", 0, 8)}, kFour),
      "device 'a': 4 of the 4 cores that this process may use are left for it: expected 8 for "
      "its threads");
  EXPECT_EQ(
      FaultOf({Cpu("a", 4, 1), Cpu("b", 0, 1)}, kFour),
      "device 'b': 0 of the 4 cores that this process may use are left for it: expected 1 for "
      "its threads");
  EXPECT_EQ(FaultOf({Cpu("a", 2, 2, {0, 1, 2})}, kFour),
            "device 'a': 2 slots of 2 threads: expected no more threads than its 3 cores");
  EXPECT_EQ(FaultOf({Cpu("a", 0, 2, {0})}, kFour),
            "device 'a': 1 slots of 2 threads: expected no more threads than its 1 cores");
  EXPECT_EQ(FaultOf({Cpu("a", 1, 1, {0, 1, 2}), Cpu("b", 2, 1)}, kFour),
            "devices without cores have 2 threads: expected at most 1, as the other devices leave "
            "cores");
  EXPECT_EQ(FaultOf({Cpu("a", 4'000'000'000, 4'000'000'000)}, kFour).substr(0, 24),
            "devices have 16000000000");
}

TEST(ThreadBudget, RefusesCoresThatAreNotThereOrNamedTwice) {
  EXPECT_EQ(FaultOf({Cpu("a", 1, 1, {0, 4})}, kFour),
            "device 'a': core 4 is not there for this process: expected some of 0, 1, 2, 3");
  EXPECT_EQ(FaultOf({Cpu("a", 1, 1, {0}), Cpu("b", 1, 1, {0})}, kFour),
            "device 'b': core 0 is named twice: expected each core once");
}

TEST(ThreadBudget, ListsEveryFault) {
  EXPECT_EQ(
      FaultOf({Cpu("a", 2, 1, {9}), Cpu("b", 0, 8)}, kFour),
      "device 'a': core 9 is not there for this process: expected some of 0, 1, 2, 3\n"
      "device 'a': 2 slots of 1 threads: expected no more threads than its 1 cores\n"
      "device 'b': 2 of the 4 cores that this process may use are left for it: expected 8 for "
      "its threads");
}

}  // namespace
}  // namespace duly
