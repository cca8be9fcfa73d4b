// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace duly {

// Where a process stands, from /proc/self/cgroup.
struct CgroupPaths {
  std::string unified;                  // v2; empty when there is none
  std::string cpu;                      // v1's hierarchy with the cpu controller; empty: none
  std::string cpu_controllers = "cpu";  // its name: "cpu,cpuacct"
  std::string memory;                   // v1's hierarchy with the memory controller; empty: none
};
CgroupPaths ParseProcCgroup(std::string_view text);

// The folders of the group `path` and of all above it, up to `mount`. What the container does not
// see is not there when it is read.
std::vector<std::string> CgroupFolders(const std::string& mount, std::string_view path);

}  // namespace duly
