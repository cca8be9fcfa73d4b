// SPDX-License-Identifier: Apache-2.0
#include "profile/service_prediction.h"

#include <gtest/gtest.h>

#include <vector>

namespace duly {
namespace {

ServicePrediction Prediction() {
  ProfilePoint one;
  one.rows = 1;
  one.mean = std::chrono::milliseconds(10);
  return ServicePrediction(LatencyCurve::Create(std::vector{one}).value());
}

TEST(ServicePrediction, FollowsALastingChange) {
  ServicePrediction prediction = Prediction();
  for (int i = 0; i < 50; ++i) prediction.Observe(1, std::chrono::milliseconds(15));
  EXPECT_NEAR(ToMillis(prediction.Mean(1)), 15, 0.1);
  EXPECT_NEAR(ToMillis(prediction.Safe(1)), 15, 0.3);
}

TEST(ServicePrediction, IsHardlyMovedByOneStall) {
  ServicePrediction prediction = Prediction();
  prediction.Observe(1, std::chrono::seconds(10));
  EXPECT_LE(ToMillis(prediction.Mean(1)), 11.3);
}

TEST(ServicePrediction, IsMoreCarefulWhenTimesVary) {
  ServicePrediction prediction = Prediction();
  for (int i = 0; i < 100; ++i)
    prediction.Observe(1, std::chrono::milliseconds(i % 2 == 0 ? 8 : 12));
  EXPECT_NEAR(ToMillis(prediction.Mean(1)), 10, 0.5);
  EXPECT_GT(ToMillis(prediction.Safe(1)), 13);
}

TEST(ServicePrediction, ScalesEveryBatchSize) {
  ServicePrediction prediction = Prediction();
  for (int i = 0; i < 100; ++i) prediction.Observe(4, std::chrono::milliseconds(20));
  EXPECT_NEAR(ToMillis(prediction.Mean(1)), 5, 0.1);
}

TEST(ServicePrediction, ForgetsTowardsTheMeasuredCurve) {
  ServicePrediction prediction = Prediction();
  for (int i = 0; i < 50; ++i) prediction.Observe(1, std::chrono::milliseconds(30));
  for (int i = 0; i < 178; ++i) prediction.Forget();
  EXPECT_NEAR(ToMillis(prediction.Mean(1)), 20, 0.1) << "half of it, after 256 ln 2";
  for (int i = 0; i < 5000; ++i) prediction.Forget();
  EXPECT_NEAR(ToMillis(prediction.Safe(1)), 10, 0.01);
  for (int i = 0; i < 50; ++i) prediction.Observe(1, std::chrono::milliseconds(5));
  for (int i = 0; i < 100; ++i) prediction.Forget();
  EXPECT_NEAR(ToMillis(prediction.Mean(1)), 5, 0.1) << "what is faster than measured stays";
}

}  // namespace
}  // namespace duly
