// SPDX-License-Identifier: Apache-2.0
#include "queueing/shared_response.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

using Loads = std::vector<ClassLoad>;
using Speedup = std::vector<double>;

constexpr double kMost = 0.999;

SharedResponse SharedResponseOf(const Loads& mix, std::size_t kind, const Speedup& speedup = {1},
                                double most = kMost) {
  return {mix, speedup, SharedServer(mix, speedup).value(), kind, most};
}

// Mixes: grid_test.cc.
void MeetsSimulation(const Loads& mix, const Speedup& speedup, double error) {
  const Responses seen = SimulateSharing(
      mix, Order::kAllTogether, 60'000, 8, [&](const std::vector<int>& active, int) {
        std::size_t all = 0;
        for (const int n : active) all += static_cast<std::size_t>(n);
        return speedup[std::min(all, speedup.size()) - 1] / static_cast<double>(all);
      });
  for (std::size_t i = 0; i < mix.size(); ++i) {
    const SharedResponse response = SharedResponseOf(mix, i, speedup, 0.99);
    for (const double q : {0.5, 0.9, 0.95, 0.99}) {
      const Measured observed = QuantileOf(seen[i], q);
      EXPECT_NEAR(response.Quantile(q), observed.value,
                  error * observed.value + observed.half_width)
          << i << " " << q;
    }
  }
}

TEST(SharedResponse, OfOneSpeedMeetsSimulationOfMD1) {
  for (const double rho : {0.3, 0.7}) MeetsSimulation({{rho / 0.02, {0.02, 0}}}, {1}, 0.01);
}

TEST(SharedResponse, OfOneSpeedMeetsSimulationOfMM1) {
  for (const double rho : {0.3, 0.7}) MeetsSimulation({{rho / 0.02, {0.02, 1}}}, {1}, 0.01);
}

TEST(SharedResponse, OfOneSpeedMeetsSimulationWhateverTheServices) {
  MeetsSimulation({{20, {0.01, 0}}, {4, {0.1, 4}}}, {1}, 0.02);
  MeetsSimulation({{20, {0.01, 0.005}}, {4, {0.1, 0.25}}}, {1}, 0.02);
}

TEST(SharedResponse, MeetsSimulationWhereEveryOtherCostsTheSame) {
  // n others cost 0.4 n: the case with speedup that is exact.
  Speedup speedup;
  for (int n = 1; n <= 60; ++n) speedup.push_back(n / (1 + 0.4 * (n - 1)));
  MeetsSimulation({{30, {0.02, 0}}, {15, {0.05, 1}}}, speedup, 0.02);
}

TEST(SharedResponse, MeetsSimulationWithSpeedup) {
  MeetsSimulation({{30, {0.02, 0}}, {8, {0.05, 0}}}, {1, 1.5, 1.8}, 0.05);
  MeetsSimulation({{30, {0.02, 1}}, {8, {0.05, 4}}}, {1, 1.9, 2.7, 3.4, 4}, 0.05);
}

TEST(SharedResponse, StaysTheServiceWhileNobodyElseIsThere) {
  // (1 - rho) e^-(lambda s), and with a speedup pi(0) of SharedServer().
  const Loads mix{{15, {0.02, 0}}};
  const double alone = 0.7 * std::exp(-0.3);
  const SharedResponse response = SharedResponseOf(mix, 0);
  EXPECT_EQ(response.Quantile(alone - 1e-9), 0.02);
  EXPECT_GT(response.Quantile(alone + 1e-3), 0.02);
  // rho / r(n): 1, 0.3, 0.3 * 0.15 / (1 - 0.15) from there on.
  const double with = std::exp(-0.3) / (1 + 0.3 / 0.85);
  const SharedResponse quicker = SharedResponseOf(mix, 0, {1, 2});
  EXPECT_EQ(quicker.Quantile(with - 1e-9), 0.02);
  EXPECT_GT(quicker.Quantile(with + 2e-3), 0.02);
}

TEST(SharedResponse, IsExponentialCloseToSaturation) {
  // How many a request finds, geometric, does not change while it is there.
  const double rho = 1 - 1e-6;
  const SharedResponse response = SharedResponseOf({{rho / 0.02, {0.02, 0}}}, 0);
  for (const double q : {0.5, 0.95, 0.99}) {
    EXPECT_NEAR(response.Quantile(q) / (-std::log(1 - q) * 0.02 / (1 - rho)), 1, 0.005) << q;
  }
}

TEST(SharedResponse, IsFiniteAndAscendingForAnyMix) {
  const std::vector<Speedup> speedups{{1}, {1, 1.5, 1.8}, {1, 0.5, 1.2}, {1, 3, 4}};
  for (const Speedup& speedup : speedups) {
    for (const double load : {1e-15, 1e-6, 0.5, 0.95, 0.999999}) {
      Loads mix;
      double service = 0.0001;
      for (const double cv2 : {0.0, 0.005, 0.3, 9.0}) {
        mix.push_back({load * speedup.back() / 4 / service, {service, cv2}});
        service *= 20;
      }
      for (std::size_t kind = 0; kind < mix.size(); ++kind) {
        const SharedResponse response = SharedResponseOf(mix, kind, speedup, 0.9999);
        double before = 0;
        for (const double q : {0.1, 0.5, 0.9, 0.95, 0.99, 0.9999}) {
          const double now = response.Quantile(q);
          EXPECT_TRUE(std::isfinite(now) && now >= before && now > 0)
              << speedup.size() << " " << load << " " << kind << " " << q << ": " << now;
          before = now;
        }
      }
    }
  }
}

TEST(SharedResponse, OfAClassThatNobodyAsksForIsWhatOneRequestWouldSee) {
  // Beside one that is always longer: with rho, less who comes, there twice as long.
  const Loads mix{{0, {0.01, 0}}, {2, {0.1, 0}}};
  EXPECT_NEAR(SharedResponseOf(mix, 0).Quantile(0.77), 0.01, 1e-9);
  EXPECT_NEAR(SharedResponseOf(mix, 0).Quantile(0.9), 0.02, 1e-3);
  const Loads idle{{0, {0.01, 1}}};
  EXPECT_DOUBLE_EQ(SharedResponseOf(idle, 0).Quantile(0.95), Quantile({0.01, 1}, 0.95));
}

}  // namespace
}  // namespace duly::queueing
