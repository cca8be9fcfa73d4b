// SPDX-License-Identifier: Apache-2.0
#include "queueing/batching.h"

#include <gtest/gtest.h>

#include "queueing/fcfs.h"

namespace duly::queueing {
namespace {

TEST(DynamicBatching, OfNobodyElseTakesTheTimeOfABatchOfOne) {
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
