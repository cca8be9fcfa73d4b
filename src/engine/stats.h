// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/outcome.h"

namespace duly {

// Latency histogram with fixed bounds, cumulative only when written out.
struct Histogram {
  // Upper bounds in microseconds, 1-2-5 steps from 20 us to 10 s; one more bucket above.
  static constexpr std::array<std::int64_t, 18> kBoundsUs{
      20,    50,    100,    200,    500,    1000,    2000,    5000,    10000,
      20000, 50000, 100000, 200000, 500000, 1000000, 2000000, 5000000, 10000000};
  std::array<std::uint64_t, kBoundsUs.size() + 1> counts{};
  std::uint64_t count = 0;
  Duration sum{0};

  void Observe(Duration d) {
    const std::int64_t us = d.count() / 1000;
    std::size_t bucket = 0;
    while (bucket < kBoundsUs.size() && us > kBoundsUs[bucket]) ++bucket;
    ++counts[bucket];
    ++count;
    sum += d;
  }
};

// Count and total, as the protocol's statistics extension reports them.
struct DurationStat {
  std::uint64_t count = 0;
  Duration total{0};
  void Add(Duration d) {
    ++count;
    total += d;
  }
};

struct BatchStats {  // per batch size in rows
  DurationStat input;
  DurationStat infer;
  DurationStat output;
};

// Per generation.
struct ModelStats {
  std::uint64_t inference_count = 0;  // rows
  std::uint64_t execution_count = 0;  // batches
  DurationStat success;               // arrival to end, of answered requests
  DurationStat fail;                  // of all others
  DurationStat queue;
  DurationStat compute_input;
  DurationStat compute_infer;
  DurationStat compute_output;
  std::uint64_t waiting = 0;
  std::uint64_t running = 0;
  std::map<std::uint32_t, BatchStats> batches;
  TimePoint last_inference{};
  Histogram request_time;
  Histogram queue_time;
  Histogram compute_input_time;
  Histogram compute_infer_time;
  Histogram compute_output_time;
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
  std::array<std::uint64_t, 6> reject_reasons{};  // by RejectReason
  std::vector<std::uint64_t> variant_requests;    // answered, by variant
};

struct ApplicationStats {
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
  std::array<std::uint64_t, 6> reject_reasons{};
  Duration on_time_device_time{0};
  Duration device_time{0};
  std::uint64_t accuracy_count = 0;  // answers whose variant has a known accuracy
  double accuracy_sum_pct = 0;
  Histogram response_time;
};

struct DeviceStats {
  Duration busy{0};  // slot time
  std::uint64_t batches = 0;
  std::uint64_t rows = 0;
  // Of predictions: mean of |observed - predicted| / predicted is sum / batches.
  double prediction_error_sum = 0;
};

// Everything that metrics and the statistics extension show; a copy, taken under the engine's lock.
struct EngineStats {
  std::vector<ModelStats> models;              // by GenerationIndex
  std::vector<ApplicationStats> applications;  // by ApplicationIndex
  std::vector<DeviceStats> devices;            // by DeviceIndex
  std::uint64_t events = 0;
  std::uint64_t dispatch_decisions = 0;
};

}  // namespace duly
