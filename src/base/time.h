// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>

namespace duly {

using Duration = std::chrono::nanoseconds;

// Names the engine's time line. It has no now(): nobody can read the time from the type, wall-clock
// values do not convert to it, and sleeping until one of its points does not compile.
struct EngineClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<EngineClock>;
  static constexpr bool is_steady = true;
};
using TimePoint = EngineClock::time_point;

// Later than everything: the deadline of what has none.
inline constexpr TimePoint kNever = TimePoint::max();

constexpr std::int64_t ToNanos(TimePoint t) { return t.time_since_epoch().count(); }
constexpr TimePoint FromNanos(std::int64_t ns) { return TimePoint(Duration(ns)); }

// t + d, staying at kNever instead of overflowing. d may come from a client.
constexpr TimePoint SaturatingAdd(TimePoint t, Duration d) {
  std::int64_t sum = 0;
  if (t == kNever || __builtin_add_overflow(ToNanos(t), d.count(), &sum)) return kNever;
  return FromNanos(sum);
}

// To the nearest nanosecond; seconds within what a Duration holds.
inline Duration FromSeconds(double seconds) { return Duration(std::llround(seconds * 1e9)); }
constexpr double ToSeconds(Duration d) { return static_cast<double>(d.count()) * 1e-9; }
constexpr double ToMillis(Duration d) { return static_cast<double>(d.count()) * 1e-6; }
constexpr double ToMicros(Duration d) { return static_cast<double>(d.count()) * 1e-3; }

// The clock port: read by drivers, passed on as a value. Implemented in runtime/ (steady clock) and
// sim/ (virtual time). Threading: Now() may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
};

}  // namespace duly
