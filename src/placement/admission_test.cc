// SPDX-License-Identifier: Apache-2.0
#include "placement/admission.h"

#include <gtest/gtest.h>

#include "placement/cluster_test_util.h"

namespace duly::placement {
namespace {

Admission::Candidate Ask(std::string name, std::string model, double rate_per_s, double slo_s) {
  return {std::move(name), std::move(model), rate_per_s, {slo_s}, 20 * kMiB};
}

TEST(Admission, AcceptsWithThePredictionOfTheDeviceThatItFound) {
  Admission admission(SmallCluster(1, 1), {});
  const auto decision = admission.Admit(Ask("a", "small", 20, 0.1));
  ASSERT_TRUE(decision);
  ASSERT_TRUE(decision->accepted);
  // 5 ms on the Edge TPU, 13 ms on the GPU.
  EXPECT_EQ(decision->standing.place, (Admission::Place{"node-0", "device"}));
  EXPECT_NEAR(decision->standing.utilization, 0.1, 1e-12);
  ASSERT_TRUE(decision->standing.response);
  const Response& response = *decision->standing.response;
  // M/D/1: s + s rho / (2 (1 - rho)).
  EXPECT_NEAR(response.mean_s, 0.005 + 0.005 * 0.1 / (2 * 0.9), 1e-9);
  EXPECT_LT(response.mean_s, response.p95_s);
  EXPECT_LT(response.p95_s, response.p99_s);
  EXPECT_EQ(response.promised_s, response.p95_s);
  EXPECT_TRUE(admission.Has("a"));
}

TEST(Admission, ARefusalNamesTheConstraintAndTheApplicationThatWouldBreak) {
  Admission admission(SmallCluster(1, 0), {});
  ASSERT_TRUE(admission.Admit(Ask("tight", "small", 5, 0.03))->accepted);
  const auto slow = admission.Admit(Ask("slow", "large", 2, 1));
  ASSERT_TRUE(slow);
  EXPECT_FALSE(slow->accepted);
  EXPECT_EQ(slow->verdict.constraint, Constraint::kLatency);
  EXPECT_EQ(slow->application, "tight");
  EXPECT_EQ(slow->verdict.bound, 0.03);
  EXPECT_GT(slow->verdict.value, 0.03);
  EXPECT_FALSE(admission.Has("slow"));

  const auto impossible = admission.Admit(Ask("impossible", "large", 1, 0.05));
  EXPECT_EQ(impossible->application, "impossible");
  const auto much = admission.Admit(Ask("much", "small", 300, 1));
  EXPECT_EQ(much->verdict.constraint, Constraint::kUtilization);
  EXPECT_EQ(much->verdict.bound, 0.8);
  EXPECT_EQ(admission.Admit(Ask("gpu only", "big", 1, 1))->verdict.constraint,
            Constraint::kUnsupported);
  EXPECT_EQ(admission.Standings().size(), 1U);
}

TEST(Admission, NamesAreUniqueAndModelsKnown) {
  Admission admission(SmallCluster(1, 0), {});
  ASSERT_TRUE(admission.Admit(Ask("a", "small", 5, 0.1)));
  EXPECT_EQ(admission.Admit(Ask("a", "small", 5, 0.1)).error().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(admission.Admit(Ask("b", "none", 5, 0.1)).error().code(), StatusCode::kNotFound);
}

TEST(Admission, WhoLeavesMakesRoom) {
  Admission admission(SmallCluster(1, 0), {});
  const auto fill = [&] {
    int accepted = 0;
    while (admission.Admit(Ask("a" + std::to_string(accepted), "small", 20, 0.1))->accepted) {
      ++accepted;
    }
    return accepted;
  };
  const int all = fill();
  EXPECT_EQ(all, 8);  // 20 of 5 ms each, to 0.8
  EXPECT_TRUE(admission.Remove("a3"));
  EXPECT_FALSE(admission.Remove("a3"));
  EXPECT_TRUE(admission.Admit(Ask("b", "small", 20, 0.1))->accepted);
  EXPECT_FALSE(admission.Admit(Ask("c", "small", 20, 0.1))->accepted);
  for (int i = 0; i < all; ++i) admission.Remove("a" + std::to_string(i));
  admission.Remove("b");
  EXPECT_TRUE(admission.Standings().empty());
  EXPECT_EQ(fill(), all);
}

TEST(Admission, WhatIsDeclaredIsThereWhateverBinds) {
  Admission admission(SmallCluster(1, 0), {});
  EXPECT_TRUE(admission.Declare(Ask("light", "small", 10, 0.1))->ok());
  EXPECT_EQ(admission.Declare(Ask("heavy", "small", 170, 0.1))->constraint,
            Constraint::kUtilization);
  ASSERT_EQ(admission.Standings().size(), 2U);
  EXPECT_NEAR(admission.Standings()[1].utilization, 0.9, 1e-12);
  EXPECT_FALSE(admission.Admit(Ask("more", "small", 1, 0.1))->accepted);
}

TEST(Admission, FollowsTheModelsOfTheCluster) {
  Admission admission(SmallCluster(1, 1), {});
  ASSERT_TRUE(admission.Admit(Ask("a", "small", 20, 0.1))->accepted);
  ASSERT_TRUE(admission.Admit(Ask("b", "big", 2, 0.5))->accepted);

  Cluster less = SmallCluster(1, 1);
  less.models.erase(less.models.begin());
  admission.SetCluster(less);
  EXPECT_FALSE(admission.Standings()[0].place);
  EXPECT_EQ(admission.Standings()[1].place, (Admission::Place{"node-1", "device"}));

  Cluster gpu_only = SmallCluster(1, 1);
  gpu_only.models[0].on[kTpu].reset();
  admission.SetCluster(gpu_only);
  EXPECT_EQ(admission.Standings()[0].place, (Admission::Place{"node-1", "device"}));
  admission.SetCluster(SmallCluster(1, 1));
  EXPECT_EQ(admission.Standings()[0].place, (Admission::Place{"node-1", "device"}));
}

TEST(Admission, SaysWhereElseAHotOneCouldGo) {
  Admission admission(SmallCluster(1, 1), {});
  ASSERT_TRUE(admission.Admit(Ask("a", "small", 20, 0.1))->accepted);
  const auto before = admission.Standings()[0];
  // 13 ms on the GPU: 40 a second are 0.52 of it, 70 too much.
  EXPECT_EQ(admission.Elsewhere("a", 40), (Admission::Place{"node-1", "device"}));
  EXPECT_EQ(admission.Elsewhere("a", 70), std::nullopt);
  const auto after = admission.Standings()[0];
  EXPECT_EQ(after.place, before.place);
  EXPECT_EQ(after.utilization, before.utilization);
  EXPECT_EQ(after.response->p99_s, before.response->p99_s);
}

}  // namespace
}  // namespace duly::placement
