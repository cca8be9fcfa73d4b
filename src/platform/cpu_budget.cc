// SPDX-License-Identifier: Apache-2.0
#include "platform/cpu_budget.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <system_error>

#include "base/file.h"
#include "platform/cgroup.h"

namespace duly {
namespace {

std::optional<std::int64_t> ParseNumber(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text;
}

Result<std::optional<double>> Cores(std::optional<std::int64_t> quota,
                                    std::optional<std::int64_t> period, std::string_view text) {
  if (!quota || !period || *quota <= 0 || *period <= 0) {
    return Error(StatusCode::kInternal, "'{}' is not a CPU quota", text);
  }
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

Result<std::vector<std::uint32_t>> ReadAffinity() {
  // The kernel refuses a set that is smaller than its own.
  for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
    std::vector<cpu_set_t> set((CPU_ALLOC_SIZE(cpus) + sizeof(cpu_set_t) - 1) / sizeof(cpu_set_t));
    const std::size_t size = set.size() * sizeof(cpu_set_t);
    if (::sched_getaffinity(0, size, set.data()) == 0) {
      std::vector<std::uint32_t> cores;
      for (int cpu = 0; cpu < cpus; ++cpu) {
        if (CPU_ISSET_S(static_cast<std::size_t>(cpu), size, set.data())) {
          cores.push_back(static_cast<std::uint32_t>(cpu));
        }
      }
      return cores;
    }
    if (errno != EINVAL) break;
  }
  return Error(StatusCode::kInternal, "sched_getaffinity: {}",
               std::generic_category().message(errno));
}

using ReadQuota = Result<std::optional<double>> (*)(const std::string& folder);

Result<std::optional<double>> ReadCpuMax(const std::string& folder) {
  const std::string file = folder + "/cpu.max";
  const Result<std::string> text = ReadFile(file);
  if (!text) return std::nullopt;
  Result<std::optional<double>> quota = ParseCpuMax(*text);
  if (!quota) return Error(quota.error().WithContext(file));
  return quota;
}

Result<std::optional<double>> ReadCfsQuota(const std::string& folder) {
  const std::string file = folder + "/cpu.cfs_quota_us";
  const Result<std::string> quota = ReadFile(file);
  const Result<std::string> period = ReadFile(folder + "/cpu.cfs_period_us");
  if (!quota || !period) return std::nullopt;
  Result<std::optional<double>> cores = ParseCfsQuota(*quota, *period);
  if (!cores) return Error(cores.error().WithContext(file));
  return cores;
}

// The tightest quota from mount/path up to the mount.
Status Tighten(std::optional<double>& tightest, const std::string& mount, std::string_view path,
               ReadQuota read) {
  for (const std::string& folder : CgroupFolders(mount, path)) {
    const Result<std::optional<double>> quota = read(folder);
    if (!quota) return quota.error();
    if (*quota && (!tightest || **quota < *tightest)) tightest = *quota;
  }
  return Status();
}

}  // namespace

std::uint32_t CpuBudget::threads() const {
  const double limit = std::min(quota.value_or(static_cast<double>(cores.size())),
                                static_cast<double>(cores.size()));
  return static_cast<std::uint32_t>(std::max(1.0, std::floor(limit)));
}

Result<std::optional<double>> ParseCpuMax(std::string_view text) {
  const std::string_view all = Trimmed(text);
  const std::size_t end = std::min(all.find(' '), all.size());
  const std::string_view quota = all.substr(0, end);
  if (quota == "max") return std::nullopt;
  // The kernel always writes the period; its default is 100 ms.
  const std::string_view period = end < all.size() ? all.substr(end + 1) : "100000";
  return Cores(ParseNumber(quota), ParseNumber(period), all);
}

Result<std::optional<double>> ParseCfsQuota(std::string_view quota, std::string_view period) {
  const std::optional<std::int64_t> number = ParseNumber(Trimmed(quota));
  if (number && *number == -1) return std::nullopt;
  return Cores(number, ParseNumber(Trimmed(period)), Trimmed(quota));
}

Result<CpuBudget> ReadCpuBudget(const std::string& root) {
  CpuBudget budget;
  DULY_ASSIGN_OR_RETURN(budget.cores, ReadAffinity());
  const Result<std::string> text = ReadFile(root + "/proc/self/cgroup");
  if (!text) return budget;  // a kernel without cgroups
  const CgroupPaths paths = ParseProcCgroup(*text);
  const std::string mount = root + "/sys/fs/cgroup";
  if (!paths.unified.empty()) {
    // Beside v1 hierarchies, v2 is mounted one folder deeper.
    for (const std::string& unified : {mount, mount + "/unified"}) {
      DULY_RETURN_IF_ERROR(Tighten(budget.quota, unified, paths.unified, ReadCpuMax));
    }
  }
  if (!paths.cpu.empty()) {
    for (const std::string& name : {paths.cpu_controllers, std::string("cpu")}) {
      DULY_RETURN_IF_ERROR(Tighten(budget.quota, mount + "/" + name, paths.cpu, ReadCfsQuota));
    }
  }
  return budget;
}

}  // namespace duly
