// SPDX-License-Identifier: Apache-2.0
#include "backend/common/monotonic.h"

#include <sys/prctl.h>

#include <cerrno>
#include <ctime>

namespace duly {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

}  // namespace

Duration MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Duration(now.tv_sec * kNanosPerSecond + now.tv_nsec);
}

void SleepUntilMonotonic(Duration until) {
  if (until <= MonotonicNow()) return;
  AskForExactTimers();
  const timespec at{.tv_sec = until.count() / kNanosPerSecond,
                    .tv_nsec = until.count() % kNanosPerSecond};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) {
  }
}

void AskForExactTimers() { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }

}  // namespace duly
