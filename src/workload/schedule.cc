// SPDX-License-Identifier: Apache-2.0
#include "workload/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>

namespace duly::workload {

Result<std::vector<Arrival>> MakeSchedule(std::span<const ApplicationLoad> applications,
                                          double load_factor, std::uint64_t seed, Duration end) {
  double expected = 0;
  for (const ApplicationLoad& load : applications) {
    expected += load.spec.rate_per_s * load_factor * ToSeconds(end);
  }
  constexpr double kMax = static_cast<double>(kMaxArrivals);
  std::vector<Arrival> schedule;
  if (expected < kMax) schedule.reserve(static_cast<std::size_t>(expected * 1.1) + 16);

  for (std::size_t i = 0; i < applications.size(); ++i) {
    const ApplicationLoad& load = applications[i];
    const std::unique_ptr<ArrivalProcess> arrivals =
        MakeArrivals(load.arrivals, load.spec.rate_per_s * load_factor, seed, load.spec.name);
    RandomStream cancel(seed, fmt::format("cancel/{}", load.spec.name));
    std::uint32_t sequence = 0;
    for (std::optional<Duration> at = arrivals->Next(); at && *at < end; at = arrivals->Next()) {
      if (expected >= kMax || schedule.size() == kMaxArrivals) {
        return Error(StatusCode::kInvalidArgument,
                     "the mix asks for about {:.0f} requests: expected at most {} in one run",
                     expected, kMaxArrivals);
      }
      const bool cancelled = load.cancel_share > 0 && cancel.Uniform() < load.cancel_share;
      schedule.push_back({*at, static_cast<std::uint32_t>(i), sequence++, cancelled});
    }
  }
  std::sort(schedule.begin(), schedule.end(), [](const Arrival& a, const Arrival& b) {
    return std::tie(a.at, a.application, a.sequence) < std::tie(b.at, b.application, b.sequence);
  });
  return schedule;
}

}  // namespace duly::workload
