// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/outcome.h"
#include "sim/latency_histogram.h"
#include "sim/simulator.h"

namespace duly::sim {

// Of the requests that were scheduled in one part of the measured time.
struct TimeSlice {
  std::uint64_t sent = 0;
  std::uint64_t on_time = 0;
};
inline constexpr std::int64_t kTimeSlices = 60;  // of equal length

// What became of the requests of one source that arrived after the warm-up.
struct SourceTally {
  std::uint64_t sent = 0;
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
  std::array<std::uint64_t, 6> reject_reasons{};  // by RejectReason
  std::array<TimeSlice, kTimeSlices> over_time{};
  LatencyHistogram latency;  // answered: on time or late
  LatencyHistogram rejected;
  LatencyHistogram expired;
  Duration on_time_device_time{0};  // each request's share, by rows, of its batch's time
  double accuracy_sum_pct = 0;
  std::uint64_t accuracy_count = 0;
  std::vector<std::uint64_t> variants;              // answered, by variant
  std::vector<std::vector<std::uint64_t>> devices;  // answered, by node and device
};

// Counts as a client of the servers would: an answer that reaches it after the promise is late, and
// what arrives during the warm-up is not counted.
class Tally final : public EndObserver {
 public:
  struct SourceFacts {
    std::optional<Duration> slo;  // of its answers at the client
    std::uint32_t rows = 1;
    std::vector<double> accuracy_pct;  // by variant; 0: not known
  };
  // duration > 0: of the measured time.
  Tally(std::vector<SourceFacts> sources, std::size_t nodes, Duration warmup, Duration duration)
      : facts_(std::move(sources)),
        warmup_(warmup),
        slice_(std::max(duration / kTimeSlices, Duration(1))),
        tallies_(facts_.size()) {
    for (SourceTally& tally : tallies_) tally.devices.resize(nodes);
  }

  void OnEnded(const Ended& ended) override;

  std::span<const SourceTally> sources() const { return tallies_; }

 private:
  const std::vector<SourceFacts> facts_;
  const Duration warmup_;
  const Duration slice_;
  std::vector<SourceTally> tallies_;
};

}  // namespace duly::sim
