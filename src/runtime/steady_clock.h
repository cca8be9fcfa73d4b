// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include "base/time.h"

namespace duly {

// CLOCK_MONOTONIC as the engine's time line; zero is the clock's own zero. Threading: any thread.
class SteadyClock final : public Clock {
 public:
  TimePoint Now() const override {
    return TimePoint(
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
  }
  // For waits of the standard library.
  static std::chrono::steady_clock::time_point ToStd(TimePoint t) {
    return std::chrono::steady_clock::time_point(t.time_since_epoch());
  }
};

}  // namespace duly
