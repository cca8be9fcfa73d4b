// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace duly {

// How far a command is, on standard error: on a terminal one line that is written over twice a
// second and is gone at the end, elsewhere a line every 10 s.
class StatusLine {
 public:
  using Clock = std::chrono::steady_clock;

  StatusLine() = default;
  ~StatusLine() {
    if (terminal_ && shown_) fmt::print(stderr, "\r\033[K");
  }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  // When it is time for the next text.
  Clock::time_point next() const { return next_; }

  // Shows what text() gives, if it is time.
  template <typename Text>
  void Update(const Text& text) {
    if (Clock::now() < next_) return;
    next_ += tick_;
    shown_ = true;
    const std::string line = text();
    fmt::print(stderr, "{}", terminal_ ? "\r\033[K" + line : line + "\n");
  }

 private:
  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  const Clock::duration tick_ =
      terminal_ ? Clock::duration(std::chrono::milliseconds(500)) : std::chrono::seconds(10);
  Clock::time_point next_ = Clock::now() + tick_;
  bool shown_ = false;
};

}  // namespace duly
