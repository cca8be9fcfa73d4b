// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"

namespace duly {

// No configuration that a person wrote is larger.
inline constexpr std::size_t kMaxConfigurationBytes = std::size_t{16} << 20;

// The contents of a regular file (or of one in /proc or /sys). Messages do not repeat its name.
// kNotFound, kPermissionDenied, kInvalidArgument (a folder; larger than max_bytes), kInternal.
Result<std::string> ReadFile(const std::string& path,
                             std::size_t max_bytes = kMaxConfigurationBytes);

// `path` as seen from the folder that `file` stands in; an absolute path stays as it is.
std::string RelativeToFile(const std::string& path, const std::string& file);

// A regular file, or a link to one.
bool IsFile(const std::string& path);

}  // namespace duly
