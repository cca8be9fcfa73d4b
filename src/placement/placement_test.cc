// SPDX-License-Identifier: Apache-2.0
#include "placement/placement.h"

#include <gtest/gtest.h>

#include "placement/cluster_test_util.h"

namespace duly::placement {
namespace {

Application App(int model, double rate_per_s, double slo_s) {
  return {"app", model, rate_per_s, {slo_s}, 20 * kMiB};
}

TEST(Placement, AddsAndRemovesWithoutATrace) {
  const Cluster cluster = SmallCluster(1, 1);
  const std::vector<Application> applications = SomeApplications(12, 3);
  Placement placement(cluster, applications, {});
  placement.Add(0, 1);
  const double load = placement.utilization(1);
  const std::uint64_t memory = placement.memory_used(1);
  for (int a = 1; a < 12; ++a) placement.Add(a, 1);
  EXPECT_EQ(placement.hosted(), 12);
  for (int a = 1; a < 12; ++a) placement.Remove(a);
  EXPECT_EQ(placement.utilization(1), load);
  EXPECT_EQ(placement.memory_used(1), memory);
  EXPECT_EQ(placement.hosted(), 1);
  EXPECT_EQ(placement.device_of(5), kNowhere);
  placement.Remove(0);
  EXPECT_EQ(placement.utilization(1), 0);
  EXPECT_EQ(placement.memory_used(1), 0U);
  EXPECT_TRUE(placement.Standing(1).ok());
}

TEST(Placement, ApplicationsOfOneModelShareItUnlessTheyBringTheirOwn) {
  const Cluster cluster = SmallCluster(1, 0);
  std::vector<Application> applications(3, App(0, 10, 0.2));
  applications[2].own_weights = true;
  Placement placement(cluster, applications, {});
  placement.Add(0, 0);
  EXPECT_EQ(placement.MemoryFor(1, 0), 20 * kMiB);
  EXPECT_EQ(placement.MemoryFor(2, 0), 70 * kMiB);
  placement.Add(1, 0);
  // No swaps: 20 requests of 5 ms.
  EXPECT_NEAR(placement.utilization(0), 0.1, 1e-12);
  placement.Add(2, 0);
  // 30 of 5 ms, and a swap of 10 ms with every change: 30 * 2 (1/3) (2/3).
  EXPECT_NEAR(placement.utilization(0), 0.15 + 30 * 4.0 / 9 * 0.010, 1e-12);
  EXPECT_EQ(placement.memory_used(0), 160 * kMiB);
  EXPECT_EQ(placement.Served(0).size(), 2U);
  EXPECT_EQ(placement.ServedIndex(1), 0U);
  EXPECT_EQ(placement.ServedIndex(2), 1U);
}

TEST(Placement, SaysWhichConstraintBinds) {
  const Cluster cluster = SmallCluster(1, 1, 300 * kMiB);
  const std::vector<Application> applications{App(2, 1, 1), App(1, 20, 9), App(1, 5, 0.12),
                                              App(0, 30, 0.05)};
  Placement placement(cluster, applications, {});
  EXPECT_EQ(placement.Check(0, 0).constraint, Constraint::kUnsupported);
  const Verdict memory = placement.Check(0, 1);
  EXPECT_EQ(memory.constraint, Constraint::kMemory);
  EXPECT_EQ(memory.value, 320.0 * kMiB);
  EXPECT_EQ(memory.bound, 240.0 * kMiB);
  const Verdict busy = placement.Check(1, 0);
  EXPECT_EQ(busy.constraint, Constraint::kUtilization);
  EXPECT_NEAR(busy.value, 1.26, 1e-12);
  EXPECT_EQ(busy.bound, 0.8);
  // Nothing of this was kept.
  EXPECT_EQ(placement.memory_used(0), 0U);
  EXPECT_EQ(placement.hosted(), 0);
  // The newcomer keeps its own promise, but breaks that of the one that is there.
  EXPECT_TRUE(placement.TryAdd(3, 0).ok());
  const Verdict latency = placement.TryAdd(2, 0);
  EXPECT_EQ(latency.constraint, Constraint::kLatency);
  EXPECT_EQ(latency.application, 3);
  EXPECT_EQ(latency.bound, 0.05);
  EXPECT_GT(latency.value, 0.05);
  EXPECT_EQ(placement.device_of(2), kNowhere);
}

TEST(Placement, OverheadCountsAgainstThePromise) {
  Cluster cluster = SmallCluster(1, 0);
  cluster.nodes[0].overhead_s = 0.010;
  // 5 ms of service and 10 ms outside of it.
  const std::vector<Application> applications{App(0, 1, 0.0149), App(0, 1, 0.0165),
                                              App(0, 1, 0.009)};
  Placement placement(cluster, applications, {});
  EXPECT_EQ(placement.Check(0, 0).constraint, Constraint::kLatency);
  EXPECT_NEAR(placement.Check(0, 0).value, 0.015, 1e-4);
  EXPECT_TRUE(placement.Check(1, 0).ok());
  EXPECT_EQ(placement.Check(2, 0).constraint, Constraint::kLatency);
}

TEST(Placement, PromisesOfMeansAndPercentilesDiffer) {
  const Cluster cluster = SmallCluster(0, 1);
  std::vector<Application> applications(2, App(1, 20, 0.100));
  applications[1].slo.quantile = 0;
  Placement placement(cluster, applications, {});
  // M/D/1 of 30 ms at 0.6: mean 52 ms, p95 about 120.
  EXPECT_EQ(placement.Check(0, 0).constraint, Constraint::kLatency);
  EXPECT_NEAR(placement.Check(0, 0).value, 0.120, 0.012);
  EXPECT_TRUE(placement.Check(1, 0).ok());
  // The published rule knows means alone.
  Placement published(cluster, applications, {Rules::Latency::kPublishedMean});
  EXPECT_TRUE(published.Check(0, 0).ok());
  Placement memory(cluster, applications, {Rules::Latency::kIgnored});
  memory.Add(0, 0);
  EXPECT_TRUE(memory.Check(1, 0).ok());
}

TEST(Placement, HeadroomRaisesTheRates) {
  const Cluster cluster = SmallCluster(1, 0);
  const std::vector<Application> applications{App(0, 140, 0.5)};
  EXPECT_TRUE(Placement(cluster, applications, {}).Check(0, 0).ok());
  Rules careful;
  careful.limits.headroom = 1.2;
  Placement placement(cluster, applications, careful);
  EXPECT_EQ(placement.Check(0, 0).constraint, Constraint::kUtilization);
  EXPECT_NEAR(placement.Check(0, 0).value, 0.84, 1e-12);
  placement.Add(0, 0);
  EXPECT_NEAR(placement.Served(0)[0].rate_per_s, 140, 1e-12);
}

TEST(Placement, ThePredictionHasTheLastWordNearABound) {
  const Cluster cluster = SmallCluster(1, 0);
  // p95 of large beside small, by the prediction.
  const std::vector<queueing::ServedClass> classes{
      {.rate_per_s = 30, .service = {0.005, 0}, .swap_s = 0.010},
      {.rate_per_s = 4, .service = {0.063, 0}, .swap_s = 0.019}};
  const double quantile[] = {0.95};
  const double exact_s =
      queueing::Predict(cluster.types[kTpu].device, classes, quantile)->classes[1].quantiles_s[0];
  for (const double slack : {0.99, 1.01}) {
    const std::vector<Application> applications{App(0, 30, 1), App(1, 4, exact_s * slack)};
    Placement placement(cluster, applications, {});
    placement.ConfirmExactly(2);
    placement.Add(0, 0);
    const Verdict verdict = placement.TryAdd(1, 0);
    EXPECT_EQ(verdict.ok(), slack > 1);
    EXPECT_EQ(placement.exact_checks_left(), 1);
    if (!verdict.ok()) {
      EXPECT_NEAR(verdict.value, exact_s, 1e-9);
      // Remembered.
      placement.Check(1, 0);
      EXPECT_EQ(placement.exact_checks_left(), 1);
    }
    // Where no checks are left, the estimate must stay away from the bound.
    Placement careful(cluster, applications, {});
    careful.ConfirmExactly(0);
    careful.Add(0, 0);
    EXPECT_FALSE(careful.TryAdd(1, 0).ok());
  }
}

}  // namespace
}  // namespace duly::placement
