// SPDX-License-Identifier: Apache-2.0
#include "queueing/sliced_response.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

using Loads = std::vector<ClassLoad>;

SlicedResponse ResponseOf(const Loads& mix, std::size_t kind,
                          const std::vector<double>& weights = {}) {
  return {mix, weights, SlicedQueues(mix, weights).value(), kind};
}

// Percentiles of the mixes: grid_test.cc.
TEST(SlicedResponse, OfShortBesideLongRequestsIsTheServiceOnceOrTwice) {
  // The short one is rare, so that it never waits; the long one is there at once and throughout
  // with rho (1 - s / l), at least for a part with rho + lambda s more.
  const Loads mix{{1e-6, {0.01, 0}}, {2, {0.1, 0}}};
  const SlicedResponse response = ResponseOf(mix, 0);
  EXPECT_NEAR(response.Quantile(0.5), 0.01, 1e-9);
  EXPECT_NEAR(response.Quantile(0.78), 0.01, 1e-9);
  EXPECT_NEAR(response.Quantile(0.83), 0.02, 2e-4);
  EXPECT_NEAR(response.Quantile(0.999), 0.02, 1e-9);
  const double between = response.Quantile(0.81);
  EXPECT_GT(between, 0.0102);
  EXPECT_LT(between, 0.0198);
}

TEST(SlicedResponse, FollowsWeights) {
  const Loads mix{{15, {0.02, 0}}, {15, {0.02, 0}}};
  const std::vector<double> weights{3, 1};
  const Responses seen = SimulateSharing(
      mix, Order::kOneOfEachClass, 60000, 6, [](const std::vector<int>& active, int kind) {
        return active[0] == 0 || active[1] == 0 ? 1.0 : kind == 0 ? 0.75 : 0.25;
      });
  for (std::size_t i = 0; i < 2; ++i) {
    const Measured p95 = QuantileOf(seen[i], 0.95);
    EXPECT_NEAR(ResponseOf(mix, i, weights).Quantile(0.95), p95.value,
                0.3 * p95.value + p95.half_width)
        << i;
  }
}

TEST(SlicedResponse, IsFiniteAndAscendingForAnyMix) {
  for (const std::size_t count : {2U, 3U, 12U, 40U}) {
    for (const double load : {1e-9, 0.5, 0.95, 0.999999}) {
      Loads mix;
      for (std::size_t i = 0; i < count; ++i) {
        const double service = 0.001 * std::pow(1.2, static_cast<double>(i));
        mix.push_back({load / static_cast<double>(count) / service,
                       {service, 0.5 * static_cast<double>(i % 3)}});
      }
      for (const std::size_t kind : {std::size_t{0}, count - 1}) {
        const SlicedResponse response = ResponseOf(mix, kind);
        double before = 0;
        for (const double q : {0.1, 0.5, 0.9, 0.95, 0.99, 0.9999}) {
          const double now = response.Quantile(q);
          EXPECT_TRUE(std::isfinite(now) && now >= before && now > 0)
              << count << " " << load << " " << kind << " " << q << ": " << now;
          before = now;
        }
      }
    }
  }
}

TEST(SlicedResponse, OfAClassThatNobodyAsksForIsWhatOneRequestWouldSee) {
  const Loads mix{{0, {0.01, 0}}, {2, {0.1, 0}}};
  EXPECT_NEAR(ResponseOf(mix, 0).Quantile(0.99), 0.02, 1e-9);
}

}  // namespace
}  // namespace duly::queueing
