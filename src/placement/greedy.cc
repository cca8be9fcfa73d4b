// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "placement/searches.h"

namespace duly::placement {
namespace {

// By memory alone: the device with the greatest score among those with room.
template <typename Score>
Optimality PlaceByMemory(Placement& placement, const Score& score) {
  for (int a = 0; a < static_cast<int>(placement.applications().size()); ++a) {
    int best = kNowhere;
    double most = 0;
    for (int d = 0; d < placement.devices(); ++d) {
      if (!placement.Check(a, d).ok()) continue;
      const int node = placement.site(d).node;
      const double left = static_cast<double>(placement.memory_limit(node)) -
                          static_cast<double>(placement.memory_used(node)) -
                          static_cast<double>(placement.MemoryFor(a, d));
      if (best == kNowhere || score(left) > most) {
        best = d;
        most = score(left);
      }
    }
    if (best != kNowhere) placement.Add(a, best);
  }
  return Optimality::kUnknown;
}

// The lower the rank, the earlier a device is tried; equals by number.
template <typename Rank>
Optimality PlaceAsIbis(Placement& placement, const Rank& rank) {
  const std::size_t types = placement.cluster().types.size();
  std::vector<std::vector<std::pair<double, int>>> order(types);
  for (int a = 0; a < static_cast<int>(placement.applications().size()); ++a) {
    for (auto& of_type : order) of_type.clear();
    for (int d = 0; d < placement.devices(); ++d) {
      order[static_cast<std::size_t>(placement.site(d).type)].emplace_back(rank(a, d), d);
    }
    int best = kNowhere;
    double least = 0;
    for (auto& of_type : order) {
      std::sort(of_type.begin(), of_type.end());
      for (const auto& [ranked, d] : of_type) {
        if (placement.Needs(a, d) == nullptr) break;
        const std::optional<double> rise = placement.Rise(a, d);
        if (!rise) continue;
        if (best == kNowhere || *rise < least) {
          best = d;
          least = *rise;
        }
        break;
      }
    }
    if (best != kNowhere) placement.Add(a, best);
  }
  return Optimality::kUnknown;
}

}  // namespace

Optimality MemoryFirst(Placement& placement, const Effort& /*effort*/) {
  return PlaceByMemory(placement, [](double) { return 0.0; });
}
Optimality MemoryBest(Placement& placement, const Effort& /*effort*/) {
  return PlaceByMemory(placement, [](double left) { return -left; });
}
Optimality MemoryWorst(Placement& placement, const Effort& /*effort*/) {
  return PlaceByMemory(placement, [](double left) { return left; });
}

Optimality IbisBreadthFirst(Placement& placement, const Effort& /*effort*/) {
  return PlaceAsIbis(placement, [&](int a, int d) {
    if (placement.HasBackend(d, a)) return -1.0;
    return placement.on(d).empty() ? 0.0 : 1 + placement.utilization(d);
  });
}
Optimality IbisDepthFirst(Placement& placement, const Effort& /*effort*/) {
  return PlaceAsIbis(placement,
                     [&](int a, int d) { return placement.HasBackend(d, a) ? 0.0 : 1.0; });
}

}  // namespace duly::placement
