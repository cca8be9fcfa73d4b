// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <vector>

#include "placement/searches.h"

namespace duly::placement {
namespace {

constexpr int kUnits = 512;  // of a knapsack

struct Item {
  int application = 0;
  int units = 0;
};

// The most items that fit; among those, the ones that come first. count[i][u]: of the items from i
// on, in u units.
std::vector<int> Fill(const std::vector<Item>& items) {
  std::vector<std::vector<int>> count(items.size() + 1, std::vector<int>(kUnits + 1));
  for (std::size_t i = items.size(); i-- > 0;) {
    for (int u = 0; u <= kUnits; ++u) {
      const auto at = static_cast<std::size_t>(u);
      count[i][at] = count[i + 1][at];
      if (items[i].units > u) continue;
      const auto left = static_cast<std::size_t>(u - items[i].units);
      count[i][at] = std::max(count[i][at], count[i + 1][left] + 1);
    }
  }
  std::vector<int> taken;
  std::size_t left = kUnits;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto units = static_cast<std::size_t>(items[i].units);
    if (units > left || count[i][left] != count[i + 1][left - units] + 1) continue;
    taken.push_back(items[i].application);
    left -= units;
  }
  return taken;
}

// `size` is what the application takes of the device's knapsack, as a share of it.
template <typename Size>
void FillDevice(Placement& placement, int device, const Size& size) {
  std::vector<Item> items;
  for (int a = 0; a < static_cast<int>(placement.applications().size()); ++a) {
    if (placement.device_of(a) != kNowhere || placement.Needs(a, device) == nullptr) continue;
    const double share = size(a);
    if (share <= 1) items.push_back({a, static_cast<int>(std::ceil(share * kUnits - 1e-9))});
  }
  for (const int a : Fill(items)) placement.TryAdd(a, device);
}

}  // namespace

// A node's memory is packed for its devices one after another, each with what the others left.
Optimality MemoryKnapsack(Placement& placement, const Effort& /*effort*/) {
  for (int d = 0; d < placement.devices(); ++d) {
    const int node = placement.site(d).node;
    const double room = static_cast<double>(placement.memory_limit(node)) -
                        static_cast<double>(placement.memory_used(node));
    FillDevice(placement, d, [&](int a) {
      const Application& wanted = placement.applications()[static_cast<std::size_t>(a)];
      return static_cast<double>(wanted.memory_bytes + placement.Needs(a, d)->memory_bytes) / room;
    });
  }
  return Optimality::kUnknown;
}

Optimality UtilizationKnapsack(Placement& placement, const Effort& /*effort*/) {
  const Limits& limits = placement.rules().limits;
  for (int d = 0; d < placement.devices(); ++d) {
    const auto type = static_cast<std::size_t>(placement.site(d).type);
    const double capacity = CapacityOf(placement.cluster().types[type].device);
    FillDevice(placement, d, [&](int a) {
      const Application& wanted = placement.applications()[static_cast<std::size_t>(a)];
      return wanted.rate_per_s * limits.headroom * placement.Needs(a, d)->service.mean_s /
             (capacity * limits.utilization);
    });
  }
  return Optimality::kUnknown;
}

}  // namespace duly::placement
