// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace duly {

// A hash and one word more: the finalizer of splitmix64, a bijection of either for a given other.
inline std::uint64_t MixHash(std::uint64_t hash, std::uint64_t word) {
  std::uint64_t z = (hash ^ word) + 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace duly
