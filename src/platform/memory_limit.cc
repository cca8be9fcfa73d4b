// SPDX-License-Identifier: Apache-2.0
#include "platform/memory_limit.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/file.h"
#include "platform/cgroup.h"

namespace duly {
namespace {

// The number that a text begins with; 0: none, such as "max".
std::uint64_t LeadingNumber(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

void Tighten(std::uint64_t& limit, const std::string& mount, std::string_view path,
             std::string_view name) {
  for (const std::string& folder : CgroupFolders(mount, path)) {
    const Result<std::string> text = ReadFile(folder + "/" + std::string(name));
    const std::uint64_t own = text ? LeadingNumber(*text) : 0;
    if (own > 0 && (limit == 0 || own < limit)) limit = own;
  }
}

}  // namespace

std::uint64_t ReadMemoryLimit(const std::string& root) {
  std::uint64_t limit = 0;
  if (const Result<std::string> text = ReadFile(root + "/proc/meminfo")) {
    constexpr std::string_view kTotal = "MemTotal:";
    if (const std::size_t at = text->find(kTotal); at != std::string::npos) {
      limit = LeadingNumber(std::string_view(*text).substr(at + kTotal.size())) * 1024;
    }
  }
  const Result<std::string> text = ReadFile(root + "/proc/self/cgroup");
  if (!text) return limit;  // a kernel without cgroups
  const CgroupPaths paths = ParseProcCgroup(*text);
  const std::string mount = root + "/sys/fs/cgroup";
  if (!paths.unified.empty()) {
    // Beside v1 hierarchies, v2 is mounted one folder deeper.
    for (const std::string& unified : {mount, mount + "/unified"}) {
      Tighten(limit, unified, paths.unified, "memory.max");
    }
  }
  // Without a limit v1 shows a number beyond any memory.
  if (!paths.memory.empty()) {
    Tighten(limit, mount + "/memory", paths.memory, "memory.limit_in_bytes");
  }
  return limit;
}

}  // namespace duly
