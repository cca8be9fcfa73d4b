// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/time.h"

namespace duly {

// A sum over the last one to two seconds: the running second, and the one before it as far as it
// still lies within the last second. Two numbers, no list.
class RecentSum {
 public:
  static constexpr Duration kWindow = std::chrono::seconds(1);

  void Add(TimePoint now, Duration amount) {
    const std::int64_t window = now.time_since_epoch() / kWindow;
    if (window != window_) {
      previous_ = window == window_ + 1 ? current_ : Duration(0);
      current_ = Duration(0);
      window_ = window;
    }
    current_ += amount;
  }
  // Scaled to one window.
  Duration Value(TimePoint now) const {
    const std::int64_t window = now.time_since_epoch() / kWindow;
    const Duration into = now.time_since_epoch() - window * kWindow;
    const Duration current = window == window_ ? current_ : Duration(0);
    const Duration previous = window == window_       ? previous_
                              : window == window_ + 1 ? current_
                                                      : Duration(0);
    // In microseconds, so that the product stays within 64 bits.
    const std::int64_t left_us = (kWindow - into).count() / 1000;
    return current + Duration(previous.count() / 1000 * left_us / (kWindow.count() / 1000) * 1000);
  }

 private:
  std::int64_t window_ = 0;
  Duration current_{0};
  Duration previous_{0};
};

}  // namespace duly
