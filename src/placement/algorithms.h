// SPDX-License-Identifier: Apache-2.0
//
// The explicit list of placement algorithms. A new one is added to algorithms.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "placement/placement.h"

namespace duly::placement {

// How much an algorithm may try. Counts, not times: the same answer on every machine.
struct Effort {
  std::uint64_t tries = 200'000;  // of an application on a device
  int exact_checks = 300;         // of a device, by queueing::Predict()
};

enum class Optimality : std::uint8_t { kUnknown, kProven };

struct Algorithm {
  std::string_view name;
  std::string_view description;  // one line, with its source
  Rules::Latency latency;        // what it checks
  // Places as many applications of an empty placement as it can. Deterministic. An application that
  // is left out is not an error.
  Optimality (*place)(Placement& placement, const Effort& effort);
};

std::span<const Algorithm> Algorithms();
// kInvalidArgument lists the known names.
Result<Algorithm> FindAlgorithm(std::string_view name);

// What keeps an application that is nowhere out: the verdict of the device where it came furthest
// (memory is looked at first, then utilization, then latency), the first of equals.
struct Refusal {
  Verdict verdict;
  int device = kNowhere;
};
Refusal WhyNot(Placement& placement, int application);

}  // namespace duly::placement
