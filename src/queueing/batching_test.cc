// SPDX-License-Identifier: Apache-2.0
#include "queueing/batching.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "queueing/fcfs.h"
#include "queueing/simulation_test_util.h"

namespace duly::queueing {
namespace {

// A free device takes all that wait.
std::vector<double> SimulateDynamic(double rate, const BatchTime& time, int requests) {
  RandomStream stream(3, "arrivals");
  std::vector<double> responses;
  double next = stream.Exponential(1 / rate);
  double free = 0;
  while (static_cast<int>(responses.size()) < requests) {
    const double start = std::max(free, next);
    std::vector<double> batch;
    for (; next <= start; next += stream.Exponential(1 / rate)) batch.push_back(next);
    free = start + time.Of(static_cast<double>(batch.size()));
    for (const double arrived : batch) responses.push_back(free - arrived);
  }
  return responses;
}

// Batches close when full or at the timeout, then wait for the device.
std::vector<double> SimulateFixed(double rate, const BatchTime& time, int size, double timeout,
                                  int requests) {
  RandomStream stream(4, "arrivals");
  std::vector<double> responses;
  double next = stream.Exponential(1 / rate);
  double free = 0;
  while (static_cast<int>(responses.size()) < requests) {
    std::vector<double> batch;
    const double closes = next + timeout;
    double closed = closes;
    while (next <= closes) {
      batch.push_back(next);
      next += stream.Exponential(1 / rate);
      if (static_cast<int>(batch.size()) == size) {
        closed = batch.back();
        break;
      }
    }
    free = std::max(free, closed) + time.Of(static_cast<double>(batch.size()));
    for (const double arrived : batch) responses.push_back(free - arrived);
  }
  return responses;
}

TEST(DynamicBatching, BoundsSimulationClosely) {
  for (const double load : {0.1, 0.5, 0.7, 0.9}) {
    for (const double fixed : {0.0, 0.005, 0.05}) {
      const BatchTime time{0.01, fixed};
      const double rate = load / 0.01;
      const Estimate mean = MeanOf(SimulateDynamic(rate, time, 100000));
      const double bound = DynamicBatchingMean(rate, time).value();
      EXPECT_GE(bound, mean.value - mean.half_width) << load << " " << fixed;
      EXPECT_LE(bound, 1.07 * mean.value + mean.half_width) << load << " " << fixed;
    }
  }
  // Nobody else: the time of a batch of one.
  EXPECT_NEAR(DynamicBatchingMean(1e-6, {0.01, 0.02}).value(), 0.03, 1e-8);
}

TEST(FixedBatching, OfOneIsAnOrdinaryQueue) {
  for (const double rate : {10.0, 25.0}) {
    const ClassLoad load{rate, {0.03, 0}};
    const Result<FixedBatching> batching = FixedBatchingMean(rate, {0.01, 0.02}, 1, 0.5);
    ASSERT_TRUE(batching);
    EXPECT_DOUBLE_EQ(batching->mean_size, 1);
    EXPECT_EQ(batching->fill_s, 0);
    EXPECT_NEAR(batching->mean_s, FcfsSingleServer({&load, 1})->mean_s + 0.03, 1e-12);
  }
}

TEST(FixedBatching, MeetsSimulationWithinItsError) {
  for (const int size : {2, 4, 8}) {
    for (const double timeout : {0.005, 0.03, 0.3}) {
      for (const double rho : {0.4, 0.7, 0.9}) {
        const BatchTime time{0.004, 0.010};
        // The rate at which the device is that busy.
        double low = 1;
        double high = 400;
        for (int i = 0; i < 40; ++i) {
          const double rate = (low + high) / 2;
          const Result<FixedBatching> at = FixedBatchingMean(rate, time, size, timeout);
          (at && at->utilization < rho ? low : high) = rate;
        }
        const Result<FixedBatching> batching = FixedBatchingMean(low, time, size, timeout);
        ASSERT_TRUE(batching);
        const Estimate mean = MeanOf(SimulateFixed(low, time, size, timeout, 60000));
        EXPECT_NEAR(batching->mean_s, mean.value,
                    (rho <= 0.7 ? 0.05 : 0.15) * mean.value + mean.half_width)
            << size << " " << timeout << " " << rho;
      }
    }
  }
}

TEST(FixedBatching, LongTimeoutFillsEveryBatch) {
  // Ten a second, 4 at a time: fill waits 3, 2, 1 and 0 gaps.
  const Result<FixedBatching> batching = FixedBatchingMean(10, {0.001, 0.001}, 4, 50);
  ASSERT_TRUE(batching);
  EXPECT_NEAR(batching->mean_size, 4, 1e-9);
  EXPECT_NEAR(batching->fill_s, 0.15, 1e-9);
}

TEST(LargestBatchWithin, IsTheLast) {
  const BatchTime time{0.004, 0.010};
  const int size = LargestBatchWithin(100, time, 0.1, 64).value();
  EXPECT_LE((size - 1) / 100.0 + time.Of(size), 0.1);
  EXPECT_GT(size / 100.0 + time.Of(size + 1), 0.1);
  EXPECT_EQ(LargestBatchWithin(100, time, 0.1, 3).value(), 3);
  EXPECT_EQ(LargestBatchWithin(100, time, 0.013, 64).value(), 0);
}

TEST(Batching, RefusesBadInput) {
  EXPECT_EQ(DynamicBatchingMean(100, {0.01, 0}).error().code(), StatusCode::kResourceExhausted);
  EXPECT_FALSE(DynamicBatchingMean(-1, {0.01, 0}));
  EXPECT_FALSE(DynamicBatchingMean(1, {0, 0}));
  EXPECT_FALSE(FixedBatchingMean(1, {0.01, 0}, 0, 1));
  EXPECT_FALSE(FixedBatchingMean(1, {0.01, 0}, 4, -1));
  EXPECT_FALSE(FixedBatchingMean(1000, {0.0001, 0}, 4, 1));
  EXPECT_EQ(FixedBatchingMean(100, {0.004, 0.010}, 1, 1).error().code(),
            StatusCode::kResourceExhausted);
  EXPECT_FALSE(LargestBatchWithin(1, {0.01, 0}, 1, 0));
}

}  // namespace
}  // namespace duly::queueing
