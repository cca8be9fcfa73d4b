// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "workload/mix.h"

namespace duly::workload {

// One request to come.
struct Arrival {
  Duration at{0};                 // from the start of the run
  std::uint32_t application = 0;  // index into the mix
  std::uint32_t sequence = 0;     // within the application, from 0: chooses the input
  bool cancel = false;            // to be given up after the application's cancel_after

  friend bool operator==(const Arrival&, const Arrival&) = default;
};

// A schedule is held in memory: more is a mistyped rate.
inline constexpr std::size_t kMaxArrivals = 50'000'000;

// Every arrival before `end`, by time; ties by application. Each application draws from streams of
// its own name, so adding one does not change the arrivals of the others.
// kInvalidArgument when there are more than kMaxArrivals.
Result<std::vector<Arrival>> MakeSchedule(std::span<const ApplicationLoad> applications,
                                          double load_factor, std::uint64_t seed, Duration end);

}  // namespace duly::workload
