// SPDX-License-Identifier: Apache-2.0
#include "placement/algorithms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "placement/cluster_test_util.h"

namespace duly::placement {
namespace {

using ::testing::ElementsAre;

Placement Place(std::string_view name, const Cluster& cluster,
                std::span<const Application> applications, const Effort& effort = {}) {
  const Algorithm algorithm = FindAlgorithm(name).value();
  Placement placement(cluster, applications, {algorithm.latency});
  algorithm.place(placement, effort);
  return placement;
}

std::vector<int> Where(const Placement& placement) {
  std::vector<int> where;
  for (int a = 0; a < static_cast<int>(placement.applications().size()); ++a) {
    where.push_back(placement.device_of(a));
  }
  return where;
}

TEST(Algorithms, KeepTheirRulesAndAreDeterministic) {
  const Cluster cluster = SmallCluster(3, 3);
  const std::vector<Application> applications = SomeApplications(60, 1);
  for (const Algorithm& algorithm : Algorithms()) {
    SCOPED_TRACE(algorithm.name);
    Placement placement = Place(algorithm.name, cluster, applications, {.tries = 20'000});
    EXPECT_GT(placement.hosted(), 10);
    if (algorithm.latency != Rules::Latency::kIgnored) {
      EXPECT_LT(placement.hosted(), 60);
    }
    int hosted = 0;
    for (int d = 0; d < placement.devices(); ++d) {
      EXPECT_TRUE(placement.Standing(d).ok()) << d;
      for (const int a : placement.on(d)) {
        EXPECT_EQ(placement.device_of(a), d);
        ++hosted;
      }
    }
    EXPECT_EQ(hosted, placement.hosted());
    EXPECT_EQ(Where(placement),
              Where(Place(algorithm.name, cluster, applications, {.tries = 20'000})));
  }
}

TEST(Algorithms, WhatFitsIsPlacedByAll) {
  const Cluster cluster = SmallCluster(2, 2);
  std::vector<Application> applications = SomeApplications(4, 5);
  for (Application& application : applications) application.rate_per_s = 1;
  for (const Algorithm& algorithm : Algorithms()) {
    EXPECT_EQ(Place(algorithm.name, cluster, applications).hosted(), 4) << algorithm.name;
  }
}

TEST(Algorithms, NothingToPlaceOrNowhereIsNoError) {
  const std::vector<Application> applications = SomeApplications(3, 1);
  for (const Algorithm& algorithm : Algorithms()) {
    EXPECT_EQ(Place(algorithm.name, SmallCluster(1, 1), {}).hosted(), 0) << algorithm.name;
    EXPECT_EQ(Place(algorithm.name, SmallCluster(0, 0), applications).hosted(), 0)
        << algorithm.name;
  }
}

TEST(Algorithms, UnknownNamesListTheKnown) {
  const auto missing = FindAlgorithm("ibis");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message(),
              testing::HasSubstr("duly, branch-and-bound, ibis-breadth"));
}

TEST(MemoryFits, ChooseTheFirstTheFullestAndTheEmptiest) {
  Cluster cluster = SmallCluster(3, 0);
  cluster.nodes[1].memory_bytes = 200 * kMiB;
  cluster.nodes[2].memory_bytes = 1200 * kMiB;
  const std::vector<Application> applications{{"a", 0, 1, {1}, 20 * kMiB}};
  EXPECT_EQ(Place("memory-first", cluster, applications).device_of(0), 0);
  EXPECT_EQ(Place("memory-best", cluster, applications).device_of(0), 1);
  EXPECT_EQ(Place("memory-worst", cluster, applications).device_of(0), 2);
}

TEST(Ibis, BreadthFirstGroupsModelsThenTakesIdleThenLeastLoaded) {
  const Cluster cluster = SmallCluster(2, 0);
  const std::vector<Application> applications{
      {"a", 0, 20, {1}, 0}, {"b", 1, 3, {1}, 0}, {"c", 0, 20, {1}, 0}, {"d", 1, 3, {1}, 0}};
  EXPECT_THAT(Where(Place("ibis-breadth", cluster, applications)), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(Where(Place("ibis-depth", cluster, applications)), ElementsAre(0, 0, 0, 0));
}

TEST(Ibis, TakesTheTypeWhoseUtilizationRisesLess) {
  const Cluster cluster = SmallCluster(1, 1);
  // 5 ms on the TPU, 13 on the GPU; 63 on the TPU, 30 on the GPU.
  const std::vector<Application> applications{{"a", 0, 20, {1}, 0}, {"b", 1, 3, {1}, 0}};
  EXPECT_THAT(Where(Place("ibis-breadth", cluster, applications)), ElementsAre(0, 1));
}

TEST(Knapsack, HoldsTheMostThatFitsByMemory) {
  // One node; every subset by hand.
  const Cluster cluster = SmallCluster(1, 0, 1000 * kMiB);
  RandomStream stream(7, "memory");
  std::vector<Application> applications;
  for (int i = 0; i < 12; ++i) {
    const std::uint64_t memory = (20 + stream.Below(300)) * kMiB;
    applications.push_back({"a", 0, 0.1, {1}, memory, true});
  }
  int best = 0;
  for (unsigned set = 0; set < 1U << 12; ++set) {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < 12; ++i) {
      if ((set >> i & 1) != 0) sum += applications[i].memory_bytes + 50 * kMiB;
    }
    if (sum <= 790 * kMiB) best = std::max(best, std::popcount(set));
  }
  EXPECT_GE(Place("memory-knapsack", cluster, applications).hosted(), best);
  EXPECT_LT(Place("memory-knapsack", cluster, applications).hosted(), 12);
}

TEST(Knapsack, FillsDevicesByUtilization) {
  const Cluster cluster = SmallCluster(1, 0);
  // 0.63, 0.45 and 0.35 of the 0.8: the two small ones. The promises do not matter.
  const std::vector<Application> applications{
      {"a", 1, 10, {0.01}, 0}, {"b", 0, 90, {0.01}, 0}, {"c", 0, 70, {0.01}, 0}};
  EXPECT_THAT(Where(Place("utilization-knapsack", cluster, applications)), ElementsAre(-1, 0, 0));
}

// The most applications that fit, every assignment tried.
int Most(Placement& placement, int application) {
  if (application == static_cast<int>(placement.applications().size())) return placement.hosted();
  int most = Most(placement, application + 1);
  for (int d = 0; d < placement.devices(); ++d) {
    if (!placement.TryAdd(application, d).ok()) continue;
    most = std::max(most, Most(placement, application + 1));
    placement.Remove(application);
  }
  return most;
}

TEST(BranchAndBound, FindsTheMost) {
  const Cluster cluster = SmallCluster(1, 1, 600 * kMiB);
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    std::vector<Application> applications = SomeApplications(8, seed);
    for (Application& application : applications) application.rate_per_s *= 2;
    Placement all(cluster, applications, {});
    all.ConfirmExactly(100'000);
    const int most = Most(all, 0);
    EXPECT_LT(most, 8);
    Placement placement(cluster, applications, {});
    EXPECT_EQ(FindAlgorithm("branch-and-bound")->place(placement, {}), Optimality::kProven);
    EXPECT_EQ(placement.hosted(), most) << seed;
  }
}

TEST(BranchAndBound, SaysWhenItGaveUp) {
  const Cluster cluster = SmallCluster(2, 2);
  const std::vector<Application> applications = SomeApplications(40, 2);
  Placement placement(cluster, applications, {});
  EXPECT_EQ(FindAlgorithm("branch-and-bound")->place(placement, {.tries = 2000}),
            Optimality::kUnknown);
  EXPECT_GT(placement.hosted(), 10);
}

TEST(Packing, ComesCloseToTheMost) {
  const Cluster cluster = SmallCluster(2, 2, 600 * kMiB);
  int packed = 0;
  int most = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    std::vector<Application> applications = SomeApplications(14, seed);
    for (Application& application : applications) application.rate_per_s *= 2;
    packed += Place("duly", cluster, applications, {.tries = 20'000}).hosted();
    most += Place("branch-and-bound", cluster, applications, {.tries = 100'000}).hosted();
  }
  EXPECT_LE(packed, most);
  EXPECT_GE(packed, 0.98 * most);
}

TEST(Packing, ThrowsOutOneThatFindsAnotherPlace) {
  // The one that runs everywhere is cheapest and takes the GPU first, where alone the other fits.
  const Cluster cluster = SmallCluster(1, 1, 500 * kMiB);
  const std::vector<Application> applications{{"anywhere", 1, 7, {0.4}, 20 * kMiB},
                                              {"gpu-only", 2, 4, {0.4}, 80 * kMiB}};
  EXPECT_EQ(Place("duly", cluster, applications).hosted(), 2);
}

TEST(Packing, HostsMoreThanWhatItWasStartedFrom) {
  const Cluster cluster = SmallCluster(4, 4);
  int constructed = 0;
  int repaired = 0;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const std::vector<Application> applications = SomeApplications(120, seed);
    constructed += Place("duly", cluster, applications, {.tries = 0}).hosted();
    repaired += Place("duly", cluster, applications, {.tries = 20'000}).hosted();
  }
  EXPECT_GT(repaired, constructed);
}

TEST(WhyNot, NamesTheDeviceThatCameNearest) {
  const Cluster cluster = SmallCluster(1, 1, 300 * kMiB);
  const std::vector<Application> applications{{"a", 2, 1, {1}, 20 * kMiB},
                                              {"b", 1, 30, {9}, 20 * kMiB}};
  Placement placement(cluster, applications, {});
  const Refusal memory = WhyNot(placement, 0);
  EXPECT_EQ(memory.verdict.constraint, Constraint::kMemory);
  EXPECT_EQ(memory.device, 1);
  const Refusal busy = WhyNot(placement, 1);
  EXPECT_EQ(busy.device, 0);
  EXPECT_EQ(busy.verdict.constraint, Constraint::kUtilization);
}

}  // namespace
}  // namespace duly::placement
