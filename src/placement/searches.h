// SPDX-License-Identifier: Apache-2.0
//
// The algorithms behind algorithms.h.
#pragma once

#include "placement/algorithms.h"

namespace duly::placement {

// Bin packing by memory alone, in the order of the applications: the first device with room, the
// one with the least room left, the one with the most.
Optimality MemoryFirst(Placement& placement, const Effort& effort);
Optimality MemoryBest(Placement& placement, const Effort& effort);
Optimality MemoryWorst(Placement& placement, const Effort& effort);

// One knapsack after another, each packed with the most applications (exact, by dynamic
// programming): nodes by memory, devices by utilization. Sizes are rounded up to 1 / 512 of a
// knapsack. Back ends are counted once for each application, as a knapsack's items must be.
Optimality MemoryKnapsack(Placement& placement, const Effort& effort);
Optimality UtilizationKnapsack(Placement& placement, const Effort& effort);

// Ibis (Liang et al., ACM TAAS 18(1), 2023, and its artifact): applications in their order, no
// backtracking. For each type of device the first that is feasible, in the order
//   breadth-first  same model; idle; least utilization
//   depth-first    same model; by number
// and of these the one whose utilization rises least. Its condition lambda_i < 0.8 / R_i, which
// takes a frontend for a synchronous server, is left out.
Optimality IbisBreadthFirst(Placement& placement, const Effort& effort);
Optimality IbisDepthFirst(Placement& placement, const Effort& effort);

// The most applications that the rules permit: branch and bound over (application, device). It uses
// that whatever does not fit does not fit beside more. Proven unless the tries ran out; then the
// best that was found.
Optimality BranchAndBound(Placement& placement, const Effort& effort);

// Duly's own; packing.cc says how.
Optimality Pack(Placement& placement, const Effort& effort);

}  // namespace duly::placement
