// SPDX-License-Identifier: Apache-2.0
//
// What several policies ask of a view.
#pragma once

#include <bit>
#include <cstdint>

#include "policy/interface/view.h"

namespace duly {

// The order of heads is the order of requests: rank, demoted last, then due, then arrival.
inline bool Before(const QueueHead& a, const QueueHead& b) {
  if (a.rank != b.rank) return a.rank < b.rank;
  if (a.demoted != b.demoted) return b.demoted;
  if (a.due != b.due) return a.due < b.due;
  return a.sequence < b.sequence;
}

// The placement of a variant on the device, if another run of it may start there now.
inline const Placement* Startable(const Variant& variant, DeviceIndex device) {
  const Placement* placement = variant.On(device);
  return placement != nullptr && placement->running < placement->instances ? placement : nullptr;
}

// Calls visit(variant index) for each variant in the mask, in ascending order.
template <typename Visit>
void ForEachVariant(VariantMask mask, Visit visit) {
  for (; mask != 0; mask &= mask - 1) visit(static_cast<std::uint32_t>(std::countr_zero(mask)));
}

// The most accurate startable variant of the mask; kNoIndex when there is none.
inline std::uint32_t MostAccurateStartable(const Generation& generation, VariantMask mask,
                                           DeviceIndex device) {
  std::uint32_t best = kNoIndex;
  ForEachVariant(mask, [&](std::uint32_t v) {
    const Variant& variant = generation.variants[v];
    if (Startable(variant, device) == nullptr) return;
    if (best == kNoIndex || variant.accuracy_pct > generation.variants[best].accuracy_pct) best = v;
  });
  return best;
}

}  // namespace duly
