// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/outcome.h"

namespace duly {

// Count and total, as the protocol's statistics extension reports them.
struct DurationStat {
  std::uint64_t count = 0;
  Duration total{0};
  void Add(Duration d) {
    ++count;
    total += d;
  }
};

// Durations in buckets with fixed bounds, cumulative only when written out. Every request is
// observed by several, so nothing is kept that can be added up later.
struct Histogram {
  // Upper bounds in nanoseconds, 1-2-5 steps from 20 us to 10 s; one more bucket above.
  static constexpr std::array<std::int64_t, 18> kBounds{
      20'000,      50'000,      100'000,       200'000,       500'000,       1'000'000,
      2'000'000,   5'000'000,   10'000'000,    20'000'000,    50'000'000,    100'000'000,
      200'000'000, 500'000'000, 1'000'000'000, 2'000'000'000, 5'000'000'000, 10'000'000'000};
  std::array<std::uint64_t, kBounds.size() + 1> counts{};
  Duration total{0};

  // d >= 0
  static std::size_t BucketOf(Duration d) {
    std::size_t bucket = kFirstBucket[std::bit_width(static_cast<std::uint64_t>(d.count()))];
    while (bucket < kBounds.size() && d.count() > kBounds[bucket]) ++bucket;
    return bucket;
  }
  void Observe(Duration d, std::uint64_t times = 1) { Observe(d, times, BucketOf(d)); }
  void Observe(Duration d, std::uint64_t times, std::size_t bucket) {
    counts[bucket] += times;
    total += d * times;
  }
  std::uint64_t count() const { return std::accumulate(counts.begin(), counts.end(), 0ULL); }
  DurationStat stat() const { return {count(), total}; }

 private:
  // By the width of a number: the bucket of the least number of that width.
  static constexpr std::array<std::uint8_t, 65> kFirstBucket = [] {
    std::array<std::uint8_t, 65> first{};
    for (std::size_t width = 1; width < 64; ++width) {
      const std::int64_t least = std::int64_t{1} << (width - 1);
      while (first[width] < kBounds.size() && least > kBounds[first[width]]) ++first[width];
    }
    return first;
  }();
};

// The part of a batch's device time that some of its rows are charged with.
inline Duration ShareOf(Duration service, std::uint32_t rows, std::uint32_t batch_rows) {
  if (rows >= batch_rows) return service;
  return Duration(service.count() * static_cast<std::int64_t>(rows) / batch_rows);
}

struct BatchStats {  // per batch size in rows
  DurationStat input;
  DurationStat infer;
  DurationStat output;
};

// Per generation.
struct ModelStats {
  std::uint64_t inference_count = 0;  // rows
  std::uint64_t execution_count = 0;  // batches
  Histogram success;                  // arrival to end, of answered requests
  DurationStat fail;                  // of all others
  Histogram queue;                    // of answered requests, as what follows
  Histogram compute_input;
  Histogram compute_infer;
  Histogram compute_output;
  std::uint64_t waiting = 0;
  std::uint64_t running = 0;
  std::map<std::uint32_t, BatchStats> batches;
  TimePoint last_inference{};
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
  std::array<std::uint64_t, 6> reject_reasons{};  // by RejectReason
  std::vector<std::uint64_t> variant_requests;    // answered, by variant
  // Of runtime/caching_node.h, beside the engine: lookups that found an answer, and those that did
  // not, with what keeping the answer took.
  DurationStat cache_hit;
  DurationStat cache_miss;
};

struct ApplicationStats {
  std::string name;
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
  std::array<std::uint64_t, 6> reject_reasons{};
  Duration on_time_device_time{0};
  Duration device_time{0};
  std::uint64_t accuracy_count = 0;  // answers whose variant has a known accuracy
  double accuracy_sum_pct = 0;
  std::optional<double> window_loss_pct;  // mean over the answers that its accuracy budget counts
  Histogram response_time;
};

struct DeviceStats {
  std::string name;
  std::uint32_t slots = 1;
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
