// SPDX-License-Identifier: Apache-2.0
#pragma once

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

// What became of the requests of one source that arrived after the warm-up.
struct SourceTally {
  std::uint64_t sent = 0;
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
  std::array<std::uint64_t, 6> reject_reasons{};  // by RejectReason
  LatencyHistogram latency;                       // answered: on time or late
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
  Tally(std::vector<SourceFacts> sources, std::size_t nodes, Duration warmup)
      : facts_(std::move(sources)), warmup_(warmup), tallies_(facts_.size()) {
    for (SourceTally& tally : tallies_) tally.devices.resize(nodes);
  }

  void OnEnded(const Ended& ended) override;

  std::span<const SourceTally> sources() const { return tallies_; }

 private:
  const std::vector<SourceFacts> facts_;
  const Duration warmup_;
  std::vector<SourceTally> tallies_;
};

}  // namespace duly::sim
