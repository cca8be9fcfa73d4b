// SPDX-License-Identifier: Apache-2.0
#include "platform/cpu_budget.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "base/temp_folder_test_util.h"
#include "platform/cgroup.h"

namespace duly {
namespace {

TEST(CpuBudget, RoundsQuotasDownToWholeCoresButNotToNone) {
  EXPECT_EQ((CpuBudget{{0, 1, 2, 3}, std::nullopt}).threads(), 4u);
  EXPECT_EQ((CpuBudget{{0, 1, 2, 3}, 2.9}).threads(), 2u);
  EXPECT_EQ((CpuBudget{{0, 1, 2, 3}, 0.2}).threads(), 1u);
  EXPECT_EQ((CpuBudget{{0, 1}, 64.0}).threads(), 2u);
}

TEST(ParseCpuMax, ReadsQuotaOverPeriod) {
  EXPECT_EQ(*ParseCpuMax("max 100000\n"), std::nullopt);
  EXPECT_EQ(*ParseCpuMax("150000 100000\n"), 1.5);
  EXPECT_EQ(*ParseCpuMax("200000"), 2.0);
  for (const char* text : {"", "\n", "x 100000", "100000 x", "100000 0", "-1 100000", "0 100000",
                           "1 2 3", "99999999999999999999 1"}) {
    EXPECT_FALSE(ParseCpuMax(text).has_value()) << text;
  }
}

TEST(ParseCfsQuota, ReadsQuotaOverPeriod) {
  EXPECT_EQ(*ParseCfsQuota("-1\n", "100000\n"), std::nullopt);
  EXPECT_EQ(*ParseCfsQuota("50000\n", "100000\n"), 0.5);
  EXPECT_FALSE(ParseCfsQuota("50000\n", "0\n").has_value());
  EXPECT_FALSE(ParseCfsQuota("-2", "100000").has_value());
  EXPECT_FALSE(ParseCfsQuota("", "100000").has_value());
}

TEST(ParseProcCgroup, FindsTheUnifiedAndTheCpuHierarchy) {
  CgroupPaths paths = ParseProcCgroup("0::/user.slice/a:b\n");
  EXPECT_EQ(paths.unified, "/user.slice/a:b");
  EXPECT_EQ(paths.cpu, "");

  paths = ParseProcCgroup(
      "12:cpuset:/set\n4:cpu,cpuacct:/docker/1\n3:cpuacct2:/other\n1:name=systemd:/s\n0::/u\n");
  EXPECT_EQ(paths.unified, "/u");
  EXPECT_EQ(paths.cpu, "/docker/1");
  EXPECT_EQ(paths.cpu_controllers, "cpu,cpuacct");
  EXPECT_EQ(paths.memory, "");
  EXPECT_EQ(ParseProcCgroup("7:hugetlb,memory:/m\n").memory, "/m");

  EXPECT_EQ(ParseProcCgroup("").unified, "");
  EXPECT_EQ(ParseProcCgroup("garbage\n::\n").cpu, "");
}

class ReadsCgroups : public testing::Test {
 protected:
  std::optional<double> Quota() {
    const Result<CpuBudget> budget = ReadCpuBudget(root_.path());
    EXPECT_TRUE(budget.has_value()) << (budget ? "" : budget.error().message());
    return budget ? budget->quota : std::nullopt;
  }
  TempFolder root_;
};

TEST_F(ReadsCgroups, TheTightestGroupUpToTheRootCounts) {
  root_.Write("proc/self/cgroup", "0::/a/b/c\n");
  root_.Write("sys/fs/cgroup/cgroup.controllers", "cpu\n");
  EXPECT_EQ(Quota(), std::nullopt) << "the root has no cpu.max";
  root_.Write("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
  EXPECT_EQ(Quota(), std::nullopt);
  root_.Write("sys/fs/cgroup/a/cpu.max", "400000 100000\n");
  EXPECT_EQ(Quota(), 4.0);
  root_.Write("sys/fs/cgroup/a/b/cpu.max", "300000 200000\n");
  EXPECT_EQ(Quota(), 1.5);
  root_.Write("sys/fs/cgroup/a/b/c/cpu.max", "200000 100000\n");
  EXPECT_EQ(Quota(), 1.5) << "a child cannot exceed its parent";
  root_.Write("sys/fs/cgroup/a/other/cpu.max", "100000 100000\n");
  EXPECT_EQ(Quota(), 1.5) << "not ours";
}

TEST_F(ReadsCgroups, OwnGroupIsTheRootInsideAContainer) {
  root_.Write("proc/self/cgroup", "0::/\n");
  root_.Write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(Quota(), 0.5);
  root_.Write("proc/self/cgroup", "0::/../../outside\n");
  EXPECT_EQ(Quota(), 0.5) << "what the container does not see is skipped";
}

TEST_F(ReadsCgroups, VersionOneWithTheControllersInEitherPlace) {
  root_.Write("proc/self/cgroup", "4:cpu,cpuacct:/docker/1\n");
  root_.Write("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "300000\n");
  EXPECT_EQ(Quota(), std::nullopt) << "no period";
  root_.Write("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Quota(), 3.0);
  // A container without a namespace of its own sees its group as the root.
  root_.Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
  root_.Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Quota(), 2.0);
  root_.Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(Quota(), 3.0);
}

TEST_F(ReadsCgroups, BothVersionsTogether) {
  root_.Write("proc/self/cgroup", "4:cpu:/x\n0::/x\n");
  root_.Write("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "300000\n");
  root_.Write("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
  root_.Write("sys/fs/cgroup/unified/x/cpu.max", "250000 100000\n");
  EXPECT_EQ(Quota(), 2.5);
}

TEST_F(ReadsCgroups, MachineWithoutCgroupsHasNoQuota) {
  EXPECT_EQ(Quota(), std::nullopt);
  root_.Write("proc/self/cgroup", "");
  EXPECT_EQ(Quota(), std::nullopt);
}

TEST_F(ReadsCgroups, FilesThatAreNotUnderstoodAreNamed) {
  root_.Write("proc/self/cgroup", "0::/a\n");
  const std::string file = root_.Write("sys/fs/cgroup/a/cpu.max", "lots\n");
  const Result<CpuBudget> budget = ReadCpuBudget(root_.path());
  ASSERT_FALSE(budget.has_value());
  EXPECT_EQ(budget.error().message(), file + ": 'lots' is not a CPU quota");
}

TEST(ReadCpuBudget, FindsTheAffinityOfThisProcess) {
  const Result<CpuBudget> budget = ReadCpuBudget();
  ASSERT_TRUE(budget.has_value());
  cpu_set_t set;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(set), &set), 0);
  EXPECT_EQ(static_cast<int>(budget->cores.size()), CPU_COUNT(&set));
  for (std::uint32_t core : budget->cores) EXPECT_TRUE(CPU_ISSET(core, &set));
  EXPECT_GE(budget->threads(), 1u);
}

}  // namespace
}  // namespace duly
