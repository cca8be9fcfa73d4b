// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace duly {

// The cores that this process may use.
struct CpuBudget {
  std::vector<std::uint32_t> cores;  // of its affinity, ascending; not empty
  std::optional<double> quota;       // of its cgroups, in cores: the tightest; nothing: no limit

  // Threads that may be runnable at once without being throttled: whole cores, at least 1.
  std::uint32_t threads() const;
};

// Contents of cgroup v2's cpu.max: "max 100000" or "150000 100000". Cores, or nothing for no limit.
Result<std::optional<double>> ParseCpuMax(std::string_view text);
// Contents of cgroup v1's cpu.cfs_quota_us (-1: no limit) and cpu.cfs_period_us.
Result<std::optional<double>> ParseCfsQuota(std::string_view quota, std::string_view period);

// Reads the limits of this process. Every group from its own up to the root counts, and a group
// that the container does not see is skipped. `root` stands before /proc and /sys, for tests.
// kInternal when a file of the kernel is not understood.
Result<CpuBudget> ReadCpuBudget(const std::string& root = "");

}  // namespace duly
