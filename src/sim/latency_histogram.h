// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/time.h"

namespace duly::sim {

// Latencies of any number of requests in bounded memory. Mean and maximum are exact; a percentile
// (nearest rank) is off by at most 1/512 of itself: every power of two is split into 256 buckets,
// and the middle of one is given.
class LatencyHistogram {
 public:
  // latency >= 0
  void Add(Duration latency) {
    const std::size_t bucket = BucketOf(static_cast<std::uint64_t>(latency.count()));
    if (bucket >= counts_.size()) counts_.resize(bucket + 1);
    ++counts_[bucket];
    ++count_;
    sum_ns_ += static_cast<double>(latency.count());
    max_ = std::max(max_, latency);
  }

  void Add(const LatencyHistogram& other) {
    counts_.resize(std::max(counts_.size(), other.counts_.size()));
    for (std::size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ns_ += other.sum_ns_;
    max_ = std::max(max_, other.max_);
  }

  std::uint64_t count() const { return count_; }
  Duration max() const { return max_; }
  // count() > 0 for both; share in (0, 1].
  double MeanNs() const { return sum_ns_ / static_cast<double>(count_); }
  Duration Percentile(double share) const {
    const auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_)));
    if (rank >= count_) return max_;
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
      seen += counts_[bucket];
      if (seen >= std::max<std::uint64_t>(rank, 1)) return std::min(MiddleOf(bucket), max_);
    }
    return max_;
  }

 private:
  static constexpr int kBits = 8;

  // Below 512 each nanosecond has a bucket of its own.
  static std::size_t BucketOf(std::uint64_t ns) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(ns)) - kBits - 1);
    return (static_cast<std::size_t>(shift) << kBits) + static_cast<std::size_t>(ns >> shift);
  }
  static Duration MiddleOf(std::size_t bucket) {
    if (bucket < (std::size_t{2} << kBits)) return Duration(bucket);
    const std::size_t shift = (bucket >> kBits) - 1;
    const std::size_t low = (bucket - (shift << kBits)) << shift;
    return Duration(low + (std::size_t{1} << shift) / 2);
  }

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  double sum_ns_ = 0;
  Duration max_{0};
};

}  // namespace duly::sim
