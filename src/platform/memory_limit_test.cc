// SPDX-License-Identifier: Apache-2.0
#include "platform/memory_limit.h"

#include <gtest/gtest.h>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

TEST(MemoryLimit, IsTheMachinesWithoutCgroups) {
  TempFolder root;
  EXPECT_EQ(ReadMemoryLimit(root.path()), 0U);
  root.Write("proc/meminfo", "MemTotal:        4096 kB\nMemFree:         10 kB\n");
  EXPECT_EQ(ReadMemoryLimit(root.path()), 4096U * 1024);
  EXPECT_GT(ReadMemoryLimit(), 0U) << "this machine";
}

TEST(MemoryLimit, TheTightestGroupUpToTheRootCounts) {
  TempFolder root;
  root.Write("proc/meminfo", "MemTotal:        4096 kB\n");
  root.Write("proc/self/cgroup", "0::/a/b\n");
  root.Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  EXPECT_EQ(ReadMemoryLimit(root.path()), 4096U * 1024);
  root.Write("sys/fs/cgroup/a/memory.max", "2097152\n");
  EXPECT_EQ(ReadMemoryLimit(root.path()), 2097152U);
  root.Write("sys/fs/cgroup/a/b/memory.max", "3000000\n");
  EXPECT_EQ(ReadMemoryLimit(root.path()), 2097152U);
  root.Write("sys/fs/cgroup/a/b/memory.max", "9999999999\n");
  EXPECT_EQ(ReadMemoryLimit(root.path()), 2097152U);
}

TEST(MemoryLimit, VersionOneHasAHierarchyOfItsOwn) {
  TempFolder root;
  root.Write("proc/meminfo", "MemTotal:        4096 kB\n");
  root.Write("proc/self/cgroup", "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n");
  root.Write("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(ReadMemoryLimit(root.path()), 4096U * 1024);
  root.Write("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "1048576\n");
  EXPECT_EQ(ReadMemoryLimit(root.path()), 1048576U);
}

}  // namespace
}  // namespace duly
