// SPDX-License-Identifier: Apache-2.0
#include "sim/latency_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace duly::sim {
namespace {

TEST(LatencyHistogram, SmallValuesAreExact) {
  LatencyHistogram histogram;
  for (int ns = 1; ns <= 100; ++ns) histogram.Add(Duration(ns));
  EXPECT_EQ(histogram.Percentile(0.5), Duration(50));
  EXPECT_EQ(histogram.Percentile(0.99), Duration(99));
  EXPECT_EQ(histogram.Percentile(1), Duration(100));
  EXPECT_DOUBLE_EQ(histogram.MeanNs(), 50.5);
}

TEST(LatencyHistogram, PercentilesOfAnySizeAreWithinTheirBound) {
  LatencyHistogram histogram;
  std::vector<std::int64_t> values;
  RandomStream random(1, "latencies");
  for (int i = 0; i < 20000; ++i) {
    values.push_back(static_cast<std::int64_t>(random.Lognormal(20e6, 3)));
    histogram.Add(Duration(values.back()));
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.01, 0.1, 0.5, 0.9, 0.99, 0.999}) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * 20000));
    const auto exact = static_cast<double>(values[rank - 1]);
    EXPECT_NEAR(static_cast<double>(histogram.Percentile(share).count()), exact, exact / 512);
  }
  EXPECT_EQ(histogram.Percentile(1), Duration(values.back()));
}

}  // namespace
}  // namespace duly::sim
