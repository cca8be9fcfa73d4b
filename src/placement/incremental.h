// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "placement/algorithms.h"
#include "placement/placement.h"

namespace duly::placement {

// One application more, or elsewhere, while the others run: nobody's promise is broken on the way
// from the old placement to the new one, as few as possible are disturbed, and never more than the
// caller permits. Changes are made to the placement; the moves say what to carry out, in this
// order: each fits where it goes at its turn.

struct Move {
  int application = kNowhere;
  int from = kNowhere;
  int to = kNowhere;
  friend bool operator==(const Move&, const Move&) = default;
};

struct Change {
  bool done = false;
  std::vector<Move> moves;  // the application's own is the last
  Refusal refusal;          // not done: what binds, where it came furthest
};

// The device, but `avoid`, where an application that is nowhere fits and raises the utilization
// least; kNowhere: it fits nowhere.
int Gentlest(Placement& placement, int application, int avoid = kNowhere);

// Places an application that is nowhere, on the device whose utilization rises least. Where none
// has room, moves up to max_others others out of the way, each to a device where it fits.
Change Admit(Placement& placement, int application, int max_others);

// The same for one that is somewhere (a hot spot, say), onto another device; where that cannot be
// it stays.
Change Migrate(Placement& placement, int application, int max_others);

}  // namespace duly::placement
