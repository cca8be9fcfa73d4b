// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace duly {

// The memory that this process may use, in bytes: the machine's, or the tightest limit of its
// cgroups (v1 and v2) where that is less. `root` stands before /proc and /sys, for tests. 0 when
// the kernel says neither.
std::uint64_t ReadMemoryLimit(const std::string& root = "");

}  // namespace duly
