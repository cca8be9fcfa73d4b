// SPDX-License-Identifier: Apache-2.0
#include "placement/incremental.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "placement/cluster_test_util.h"

namespace duly::placement {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Admit, TakesTheDeviceThatItRaisesLeast) {
  const Cluster cluster = SmallCluster(1, 1);
  const std::vector<Application> applications{{"a", 0, 20, {1}, 0}};
  Placement placement(cluster, applications, {});
  const Change change = Admit(placement, 0, 0);
  EXPECT_TRUE(change.done);
  EXPECT_THAT(change.moves, ElementsAre(Move{0, kNowhere, 0}));
  EXPECT_EQ(placement.device_of(0), 0);
}

// The large one holds the only GPU, where the big one must go.
class Blocked : public ::testing::Test {
 protected:
  const Cluster cluster_ = SmallCluster(1, 1, 500 * kMiB);
  const std::vector<Application> applications_{{"large", 1, 5, {0.4}, 20 * kMiB},
                                               {"big", 2, 4, {0.4}, 80 * kMiB}};
};

TEST_F(Blocked, OthersMakeRoomWhereTheCallerPermits) {
  Placement placement(cluster_, applications_, {});
  placement.Add(0, 1);
  const Change refused = Admit(placement, 1, 0);
  EXPECT_FALSE(refused.done);
  EXPECT_THAT(refused.moves, IsEmpty());
  EXPECT_EQ(refused.refusal.verdict.constraint, Constraint::kMemory);
  EXPECT_EQ(placement.device_of(0), 1);
  const Change change = Admit(placement, 1, 1);
  EXPECT_TRUE(change.done);
  EXPECT_THAT(change.moves, ElementsAre(Move{0, 1, 0}, Move{1, kNowhere, 1}));
  EXPECT_TRUE(placement.Standing(0).ok());
  EXPECT_TRUE(placement.Standing(1).ok());
}

TEST_F(Blocked, WhatCannotBeChangesNothing) {
  std::vector<Application> applications = applications_;
  applications[0].slo.bound_s = 0.05;  // no longer on the TPU
  Placement placement(cluster_, applications, {});
  placement.Add(0, 1);
  EXPECT_FALSE(Admit(placement, 1, 5).done);
  EXPECT_EQ(placement.device_of(0), 1);
  EXPECT_EQ(placement.device_of(1), kNowhere);
  EXPECT_EQ(placement.hosted(), 1);
}

TEST(Migrate, LeavesItsDeviceOrStays) {
  const Cluster cluster = SmallCluster(2, 0);
  const std::vector<Application> applications{
      {"a", 0, 60, {0.04}, 0}, {"b", 0, 60, {0.04}, 0}, {"c", 1, 8, {0.4}, 0}};
  Placement placement(cluster, applications, {});
  placement.Add(0, 0);
  placement.Add(1, 0);
  EXPECT_THAT(Migrate(placement, 0, 0).moves, ElementsAre(Move{0, 0, 1}));
  placement.Add(2, 1);
  placement.Remove(0);
  // Beside b nothing of the large model keeps both promises.
  EXPECT_FALSE(Migrate(placement, 2, 0).done);
  EXPECT_EQ(placement.device_of(2), 1);
}

TEST(Admit, MovesNoMoreThanPermittedAndBreaksNobody) {
  const Cluster cluster = SmallCluster(3, 3);
  int helped = 0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const std::vector<Application> applications = SomeApplications(60, seed);
    Placement placement(cluster, applications, {});
    for (int a = 0; a < 60; ++a) {
      const int before = placement.hosted();
      const Change change = Admit(placement, a, 1);
      EXPECT_LE(change.moves.size(), 2U);
      EXPECT_EQ(placement.hosted(), before + (change.done ? 1 : 0));
      if (change.moves.size() == 2) ++helped;
      if (change.done) {
        EXPECT_EQ(change.moves.back().application, a);
      }
      for (const Move& move : change.moves) {
        EXPECT_EQ(placement.device_of(move.application), move.to);
      }
    }
    for (int d = 0; d < placement.devices(); ++d) EXPECT_TRUE(placement.Standing(d).ok());
  }
  EXPECT_GT(helped, 0);
}

}  // namespace
}  // namespace duly::placement
