// SPDX-License-Identifier: Apache-2.0
#include "queueing/estimate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "queueing/edge_tpu.h"
#include "queueing/sharing.h"

namespace duly::queueing {
namespace {

std::vector<ServedClass> Mix(double load, double cv2) {
  std::vector<ServedClass> classes{{.rate_per_s = 30, .service = {0.0049, cv2}, .swap_s = 0.0104},
                                   {.rate_per_s = 5, .service = {0.0630, cv2}, .swap_s = 0.0194},
                                   {.rate_per_s = 8, .service = {0.0192, cv2}, .swap_s = 0.0246}};
  double now = 0;
  for (const ServedClass& c : classes) now += c.rate_per_s * c.service.mean_s;
  for (ServedClass& c : classes) c.rate_per_s *= load / now;
  return classes;
}

struct Kind {
  Device device;
  double swaps = 1;  // of the load; the rest is swaps, or several servers
  double mean_error = 1e-9;
  double quantile_error = 0.1;
};
const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds{
      {{Mechanism::kSerial}, 1, 1e-9, 0.12},
      {{Mechanism::kSwapping}, 0.55, 0.06, 0.18},
      {{Mechanism::kSliced}, 1, 1e-9, 0.19},
      {{Mechanism::kShared}, 1, 1e-9, 0.15},
      {{Mechanism::kShared, {1, 1.4, 1.6}}, 1, 1e-9, 0.13},
      {{.mechanism = Mechanism::kServers, .servers = 3}, 3, 1e-9, 0.19}};
  return kinds;
}

TEST(Estimate, IsCloseToThePrediction) {
  const double probabilities[] = {0.9, 0.95, 0.99};
  Estimate estimate(Estimate::Form::kOwn);
  for (const Kind& kind : Kinds()) {
    double worst_mean = 0;
    double worst_quantile = 0;
    for (const double cv2 : {0.0, 0.04, 0.25, 1.0}) {
      for (const double load : {0.3, 0.5, 0.7, 0.8, 0.9}) {
        const std::vector<ServedClass> classes = Mix(load * kind.swaps, cv2);
        const Prediction exact = Predict(kind.device, classes, probabilities).value();
        estimate.Update(kind.device, classes);
        ASSERT_TRUE(exact.stable);
        EXPECT_NEAR(estimate.utilization(), exact.utilization, 1e-9);
        for (std::size_t i = 0; i < classes.size(); ++i) {
          const auto error = [](double value, double truth) { return std::abs(value / truth - 1); };
          worst_mean = std::max(worst_mean, error(estimate.Mean(i), exact.classes[i].mean_s));
          for (std::size_t q = 0; q < 3; ++q) {
            const double e =
                error(estimate.Quantile(i, probabilities[q]), exact.classes[i].quantiles_s[q]);
            worst_quantile = std::max(worst_quantile, e);
          }
        }
      }
    }
    EXPECT_LT(worst_mean, kind.mean_error) << static_cast<int>(kind.device.mechanism);
    EXPECT_LT(worst_quantile, kind.quantile_error) << static_cast<int>(kind.device.mechanism);
  }
}

TEST(Estimate, RisesWithLoadAndProbability) {
  Estimate estimate(Estimate::Form::kOwn);
  for (const Kind& kind : Kinds()) {
    for (std::size_t i = 0; i < 3; ++i) {
      double before = 0;
      for (double load = 0.05; load < 0.95; load += 0.01) {
        estimate.Update(kind.device, Mix(load * std::min(1.0, kind.swaps), 0.04));
        const double p95 = estimate.Quantile(i, 0.95);
        EXPECT_GE(p95, before * 0.999) << static_cast<int>(kind.device.mechanism) << " " << load;
        EXPECT_LE(estimate.Quantile(i, 0.9), p95);
        before = p95;
      }
    }
  }
}

TEST(Estimate, PublishedFormsAreThoseOfTheirHeaders) {
  const std::vector<ServedClass> classes = Mix(0.5, 0);
  std::vector<SwappedClass> swapped;
  std::vector<ClassLoad> loads;
  for (const ServedClass& c : classes) {
    swapped.push_back({c.rate_per_s, c.service, c.swap_s});
    loads.push_back({c.rate_per_s, c.service});
  }
  Estimate estimate(Estimate::Form::kPublished);
  estimate.Update({Mechanism::kSwapping}, classes);
  const SwappedWait wait = WaitWithSwaps(swapped, SecondMomentForm::kPublished).value();
  EXPECT_NEAR(estimate.utilization(), wait.utilization, 1e-12);
  EXPECT_NEAR(estimate.Mean(1), wait.wait_s + EffectiveService(swapped, 1), 1e-12);
  estimate.Update({Mechanism::kSliced}, classes);
  EXPECT_NEAR(estimate.Mean(1), 0.063 + PublishedGpuWait(loads).value(), 1e-12);
}

TEST(Estimate, SaysWhatIsUnstable) {
  for (const Kind& kind : Kinds()) {
    Estimate estimate(Estimate::Form::kOwn);
    estimate.Update(kind.device, Mix(5, 0));
    EXPECT_FALSE(estimate.stable());
    estimate.Update(kind.device, {});
    EXPECT_TRUE(estimate.stable());
  }
}

}  // namespace
}  // namespace duly::queueing
