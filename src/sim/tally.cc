// SPDX-License-Identifier: Apache-2.0
#include "sim/tally.h"

#include <algorithm>

#include "engine/stats.h"

namespace duly::sim {

void Tally::OnEnded(const Ended& ended) {
  if (ended.scheduled < warmup_) return;
  const SourceFacts& facts = facts_[ended.group];
  SourceTally& tally = tallies_[ended.group];
  const Finish& finish = ended.finish;
  Outcome outcome = finish.outcome;
  if (outcome == Outcome::kOnTime && facts.slo && ended.latency > *facts.slo) {
    outcome = Outcome::kLate;
  }
  ++tally.sent;
  TimeSlice& slice = tally.over_time[static_cast<std::size_t>(
      std::min((ended.scheduled - warmup_) / slice_, kTimeSlices - 1))];
  ++slice.sent;
  if (outcome == Outcome::kOnTime) ++slice.on_time;
  ++tally.outcomes[static_cast<std::size_t>(outcome)];
  ++tally.reject_reasons[static_cast<std::size_t>(finish.reason)];
  if (outcome == Outcome::kRejected) tally.rejected.Add(ended.latency);
  if (outcome == Outcome::kExpired) tally.expired.Add(ended.latency);
  if (outcome != Outcome::kOnTime && outcome != Outcome::kLate) return;

  tally.latency.Add(ended.latency);
  const auto count = [](std::vector<std::uint64_t>& counts, std::uint32_t index) {
    if (index >= counts.size()) counts.resize(index + 1);
    ++counts[index];
  };
  count(tally.variants, finish.variant);
  count(tally.devices[ended.node], finish.device);
  if (finish.variant < facts.accuracy_pct.size() && facts.accuracy_pct[finish.variant] > 0) {
    tally.accuracy_sum_pct += facts.accuracy_pct[finish.variant];
    ++tally.accuracy_count;
  }
  if (outcome == Outcome::kOnTime) {
    tally.on_time_device_time += ShareOf(finish.service, facts.rows, finish.batch_rows);
  }
}

}  // namespace duly::sim
