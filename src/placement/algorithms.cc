// SPDX-License-Identifier: Apache-2.0
#include "placement/algorithms.h"

#include <fmt/ranges.h>

#include <array>
#include <vector>

#include "placement/searches.h"

namespace duly::placement {
namespace {

using Latency = Rules::Latency;

constexpr std::array kAlgorithms{
    Algorithm{"duly", "packs by promised percentiles, then repairs: ejections, chains, repacking",
              Latency::kPromise, Pack},
    Algorithm{"branch-and-bound", "the most applications there can be; for tens of them",
              Latency::kPromise, BranchAndBound},
    Algorithm{"ibis-breadth", "same model, idle, least utilization; published means (Ibis)",
              Latency::kPublishedMean, IbisBreadthFirst},
    Algorithm{"ibis-depth", "same model, then the first feasible; published means (Ibis)",
              Latency::kPublishedMean, IbisDepthFirst},
    Algorithm{"memory-first", "first device with memory left", Latency::kIgnored, MemoryFirst},
    Algorithm{"memory-best", "device with the least memory left", Latency::kIgnored, MemoryBest},
    Algorithm{"memory-worst", "device with the most memory left", Latency::kIgnored, MemoryWorst},
    Algorithm{"memory-knapsack", "the most applications by memory, node after node (exact)",
              Latency::kIgnored, MemoryKnapsack},
    Algorithm{"utilization-knapsack", "the most by utilization, device after device (exact)",
              Latency::kIgnored, UtilizationKnapsack},
};

}  // namespace

std::span<const Algorithm> Algorithms() { return kAlgorithms; }

Result<Algorithm> FindAlgorithm(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Algorithm& algorithm : kAlgorithms) {
    if (algorithm.name == name) return algorithm;
    names.push_back(algorithm.name);
  }
  return Error(StatusCode::kInvalidArgument, "unknown algorithm '{}': expected one of: {}", name,
               fmt::join(names, ", "));
}

Refusal WhyNot(Placement& placement, int application) {
  Refusal refusal{{Constraint::kUnsupported}, kNowhere};
  for (int device = 0; device < placement.devices(); ++device) {
    const Verdict verdict = placement.Check(application, device);
    if (verdict.ok()) return {{}, device};
    if (verdict.constraint > refusal.verdict.constraint) refusal = {verdict, device};
  }
  return refusal;
}

}  // namespace duly::placement
