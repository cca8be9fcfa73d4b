// SPDX-License-Identifier: Apache-2.0
#include "platform/cgroup.h"

#include <algorithm>
#include <filesystem>

namespace duly {
namespace {

// Splits off the part before the next `separator`; all of the text when there is none.
std::string_view Next(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

}  // namespace

CgroupPaths ParseProcCgroup(std::string_view text) {
  CgroupPaths paths;
  while (!text.empty()) {
    std::string_view line = Next(text, '\n');
    const std::string_view hierarchy = Next(line, ':');
    const std::string_view controllers = Next(line, ':');
    if (hierarchy == "0" && controllers.empty()) {
      paths.unified = line;
      continue;
    }
    for (std::string_view rest = controllers; !rest.empty();) {
      const std::string_view controller = Next(rest, ',');
      if (controller == "memory") paths.memory = line;
      if (controller != "cpu") continue;
      paths.cpu = line;
      paths.cpu_controllers = controllers;
    }
  }
  return paths;
}

std::vector<std::string> CgroupFolders(const std::string& mount, std::string_view path) {
  // Outside of the visible hierarchy a path is written as /../other.
  std::filesystem::path group =
      std::filesystem::path("/" + std::string(path)).lexically_normal().relative_path();
  if (!group.has_filename()) group = group.parent_path();
  std::vector<std::string> folders;
  for (; !group.empty(); group = group.parent_path()) {
    folders.push_back(mount + "/" + group.string());
  }
  folders.push_back(mount);
  return folders;
}

}  // namespace duly
