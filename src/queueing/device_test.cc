// SPDX-License-Identifier: Apache-2.0
#include "queueing/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "queueing/fcfs.h"
#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

using ::testing::HasSubstr;

constexpr double kQuantiles[] = {0.5, 0.95, 0.99};
constexpr Mechanism kAll[] = {Mechanism::kSerial, Mechanism::kSwapping, Mechanism::kSliced,
                              Mechanism::kShared, Mechanism::kServers};

TEST(Predict, OneExponentialClassIsMM1WhereverTheDeviceIsOneServer) {
  // Serial, swapping with nothing to swap, one queue with nobody to slice, one CPU: exponential
  // with mean 1 / (mu - lambda).
  const ServedClass classes[] = {{.rate_per_s = 40, .service = {0.02, 1}}};
  for (const Mechanism mechanism :
       {Mechanism::kSerial, Mechanism::kSwapping, Mechanism::kSliced, Mechanism::kServers}) {
    const Result<Prediction> prediction = Predict({.mechanism = mechanism}, classes, kQuantiles);
    ASSERT_TRUE(prediction);
    EXPECT_TRUE(prediction->stable);
    EXPECT_NEAR(prediction->utilization, 0.8, 1e-12);
    EXPECT_NEAR(prediction->classes[0].mean_s, 0.1, 1e-6);
    for (std::size_t q = 0; q < 3; ++q) {
      EXPECT_NEAR(prediction->classes[0].quantiles_s[q], -0.1 * std::log(1 - kQuantiles[q]), 6e-4);
    }
  }
  EXPECT_NEAR(Predict({.mechanism = Mechanism::kShared}, classes, {})->classes[0].mean_s, 0.1,
              1e-9);
}

TEST(Predict, TheHostsShareWaitsBehindNobody) {
  const ServedClass with[] = {{.rate_per_s = 20, .service = {0.04, 0}, .after_s = 0.01}};
  const ClassLoad device[] = {{20, {0.03, 0}}};
  const Result<Prediction> prediction =
      Predict({.mechanism = Mechanism::kSwapping}, with, kQuantiles);
  ASSERT_TRUE(prediction);
  EXPECT_NEAR(prediction->utilization, 0.6, 1e-12);
  EXPECT_NEAR(prediction->classes[0].mean_s, FcfsSingleServer(device)->mean_s + 0.04, 1e-12);
}

TEST(Predict, ServersMeetSimulationOfAMix) {
  const ServedClass classes[] = {{.rate_per_s = 30, .service = {0.02, 0}},
                                 {.rate_per_s = 30, .service = {0.03, 0}}};
  const Result<Prediction> prediction =
      Predict({.mechanism = Mechanism::kServers, .servers = 2}, classes, kQuantiles);
  ASSERT_TRUE(prediction);
  EXPECT_NEAR(prediction->utilization, 0.75, 1e-12);
  // One class of the same first two moments: mean 25 ms, cv 0.2.
  const Measured mean = MeanOf(SimulateServers({60, {0.025, 0.04}}, 2, 100000, 1));
  const double both = (prediction->classes[0].mean_s + prediction->classes[1].mean_s) / 2;
  EXPECT_NEAR(both, mean.value, mean.half_width + 0.05 * mean.value);
}

TEST(Predict, AnUnstableMixIsAnAnswer) {
  const ServedClass classes[] = {{.rate_per_s = 40, .service = {0.02, 0}},
                                 {.rate_per_s = 40, .service = {0.02, 0}}};
  for (const Mechanism mechanism : kAll) {
    const Result<Prediction> prediction = Predict({.mechanism = mechanism}, classes, kQuantiles);
    ASSERT_TRUE(prediction);
    EXPECT_FALSE(prediction->stable);
    EXPECT_NEAR(prediction->utilization, 1.6, 1e-12);
    EXPECT_TRUE(prediction->classes.empty());
  }
  EXPECT_TRUE(Predict({.mechanism = Mechanism::kServers, .servers = 2}, classes, {})->stable);
  EXPECT_TRUE(Predict({.mechanism = Mechanism::kShared, .speedup = {1, 2}}, classes, {})->stable);
}

TEST(Predict, IsFiniteAndAscendingWhereverItIsStable) {
  for (const Mechanism mechanism : kAll) {
    for (const double rho : {1e-9, 0.9, 0.999999}) {
      for (const double cv2 : {0.0, 0.3, 9.0}) {
        std::vector<ServedClass> classes;
        for (const double service : {0.001, 0.02, 0.4}) {
          classes.push_back({.rate_per_s = rho / 3 / service, .service = {service, cv2}});
        }
        const Result<Prediction> prediction =
            Predict({.mechanism = mechanism}, classes, kQuantiles);
        ASSERT_TRUE(prediction) << prediction.error().message();
        ASSERT_EQ(prediction->classes.size(), 3U);
        for (const ClassPrediction& one : prediction->classes) {
          EXPECT_TRUE(std::isfinite(one.mean_s) && one.mean_s > 0);
          double before = 0;
          for (const double t : one.quantiles_s) {
            EXPECT_TRUE(std::isfinite(t) && t >= before) << t << " after " << before;
            before = t;
          }
        }
      }
    }
  }
}

TEST(Predict, ManySwappingClassesAreStillPredicted) {
  std::vector<ServedClass> classes(40, {.rate_per_s = 0.5, .service = {0.02, 0}, .swap_s = 0.01});
  const Result<Prediction> prediction =
      Predict({.mechanism = Mechanism::kSwapping}, classes, kQuantiles);
  ASSERT_TRUE(prediction);
  EXPECT_EQ(prediction->classes.size(), 40U);
  EXPECT_GT(prediction->classes[0].quantiles_s[2], prediction->classes[0].mean_s);
}

TEST(Predict, AServiceAmongVeryManyArrivalsIsStillPredicted) {
  const ServedClass classes[] = {
      {.rate_per_s = 50000, .service = {1e-6, 0}, .swap_s = 1e-6},
      {.rate_per_s = 0.01, .service = {10, 0}, .swap_s = 1e-6},
  };
  const Result<Prediction> prediction =
      Predict({.mechanism = Mechanism::kSwapping}, classes, kQuantiles);
  ASSERT_TRUE(prediction);
  // Lambda E[S^2] / (2 (1 - rho)), all but nothing of it from the long one.
  EXPECT_NEAR(prediction->classes[1].mean_s, 10 + 0.01 * 100 / (2 * 0.85), 1e-3);
}

TEST(Predict, SaysWhatIsMeaningless) {
  const auto message = [](ServedClass one, Device device = {}) {
    const ServedClass classes[] = {one};
    return Predict(device, classes, kQuantiles).error().message();
  };
  EXPECT_THAT(message({.rate_per_s = -1, .service = {1, 0}}), HasSubstr("the rate is -1"));
  EXPECT_THAT(message({.rate_per_s = 0, .service = {1, 0}}), HasSubstr("sum of the rates is 0"));
  EXPECT_THAT(message({.rate_per_s = 1, .service = {0, 0}}), HasSubstr("mean service time is 0"));
  EXPECT_THAT(message({.rate_per_s = 1, .service = {.1, 0}, .swap_s = -1}),
              HasSubstr("swap is -1"));
  EXPECT_THAT(message({.rate_per_s = 1, .service = {.1, 0}, .after_s = .2}),
              HasSubstr("less than"));
  EXPECT_THAT(message({.rate_per_s = 1, .service = {.1, 0}, .weight = 0}),
              HasSubstr("a weight is 0"));
  EXPECT_THAT(message({.rate_per_s = 1, .service = {.1, 0}}, {.servers = 0}),
              HasSubstr("0 servers"));
  EXPECT_THAT(message({.rate_per_s = 1, .service = {.1, 0}}, {.speedup = {}}),
              HasSubstr("no speedup"));
  const double outside[] = {1.5};
  const ServedClass fine[] = {{.rate_per_s = 1, .service = {.1, 0}}};
  EXPECT_THAT(Predict({}, fine, outside).error().message(), HasSubstr("quantile 1.5"));
  EXPECT_FALSE(Predict({}, {}, {}));
}

}  // namespace
}  // namespace duly::queueing
