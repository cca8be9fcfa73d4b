// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>

namespace duly {

// I/O threads of a server: those asked for; 0: two, or one on a single core.
inline std::uint32_t ThreadCount(std::uint32_t asked) {
  return asked > 0 ? asked : std::clamp(std::thread::hardware_concurrency(), 1U, 2U);
}

}  // namespace duly
