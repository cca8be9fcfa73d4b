// SPDX-License-Identifier: Apache-2.0
#include "placement/incremental.h"

#include <optional>
#include <utility>

namespace duly::placement {

int Gentlest(Placement& placement, int application, int avoid) {
  int best = kNowhere;
  double least = 0;
  for (int d = 0; d < placement.devices(); ++d) {
    if (d == avoid) continue;
    const std::optional<double> rise = placement.Rise(application, d);
    if (!rise || (best != kNowhere && *rise >= least)) continue;
    best = d;
    least = *rise;
  }
  return best;
}

namespace {

// Moves others off the device until the application fits, the fewest first; adds it and the moves,
// or changes nothing.
bool MakeRoom(Placement& placement, int application, int device, int max_others,
              std::vector<Move>& moves) {
  if (placement.TryAdd(application, device).ok()) return true;
  if (max_others == 0) return false;
  const std::vector<int> there(placement.on(device).begin(), placement.on(device).end());
  for (const int other : there) {
    placement.Remove(other);
    const int elsewhere = Gentlest(placement, other, device);
    if (elsewhere == kNowhere) {
      placement.Add(other, device);
      continue;
    }
    placement.Add(other, elsewhere);
    moves.push_back({other, device, elsewhere});
    if (MakeRoom(placement, application, device, max_others - 1, moves)) return true;
    moves.pop_back();
    placement.Remove(other);
    placement.Add(other, device);
  }
  return false;
}

Change Settle(Placement& placement, int application, int from, int max_others) {
  Change change;
  int to = Gentlest(placement, application, from);
  if (to != kNowhere) placement.Add(application, to);
  for (int others = 1; to == kNowhere && others <= max_others; ++others) {
    for (int d = 0; d < placement.devices() && to == kNowhere; ++d) {
      // Others cannot make up for a model that does not run there.
      if (d == from || placement.on(d).empty() ||
          placement.Check(application, d).constraint == Constraint::kUnsupported) {
        continue;
      }
      if (MakeRoom(placement, application, d, others, change.moves)) to = d;
    }
  }
  change.done = to != kNowhere;
  if (change.done) {
    change.moves.push_back({application, from, to});
  } else {
    change.refusal = WhyNot(placement, application);
  }
  return change;
}

}  // namespace

Change Admit(Placement& placement, int application, int max_others) {
  return Settle(placement, application, kNowhere, max_others);
}

Change Migrate(Placement& placement, int application, int max_others) {
  const int from = placement.device_of(application);
  placement.Remove(application);
  Change change = Settle(placement, application, from, max_others);
  if (!change.done) placement.Add(application, from);
  return change;
}

}  // namespace duly::placement
