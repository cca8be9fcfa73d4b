// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/time.h"

namespace duly {

// CLOCK_MONOTONIC, since its own start. For durations of runs, and for back ends that let real time
// pass. Not comparable with the engine's time points.
Duration MonotonicNow();

// Off the CPU until MonotonicNow() has reached `until`; at once when it has. Never early. Asks for
// exact timers.
void SleepUntilMonotonic(Duration until);

// Asks the kernel for the smallest timer slack of the calling thread (the default adds 50 us), and
// leaves it there.
void AskForExactTimers();

}  // namespace duly
