// SPDX-License-Identifier: Apache-2.0
#include "policy/fifo/fifo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;
using testing::IsEmpty;

std::unique_ptr<DispatchPolicy> Fifo() { return std::make_unique<FifoPolicy>(); }

TEST(Fifo, RunsOneByOneInOrderOfArrivalWhateverThePromises) {
  NodeBuilder node;
  for (const char* name : {"a", "b", "c"}) node.Model(name, {{1, 10}, {8, 11}}, 8);
  VirtualDriver driver = Drive(node, Fifo());
  // The nearer its deadline the later it comes; two of each model.
  for (GenerationIndex i = 0; i < 6; ++i) {
    driver.ArriveAt(At(milliseconds(i)), Promised(milliseconds(500 - 50 * i), i % 3));
  }
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(driver[i].started, At(milliseconds(10 * i))) << i;
    EXPECT_EQ(driver[i].finish.batch_rows, 1U);
  }
}

TEST(Fifo, RefusesNothingThatHasAPlace) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  node.config().max_waiting = 2;
  VirtualDriver driver = Drive(node, Fifo());
  for (int i = 0; i < 4; ++i) driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(1)));
  driver.Run();
  for (const std::size_t i : {0U, 1U, 2U}) EXPECT_EQ(driver[i].finish.outcome, Outcome::kLate);
  EXPECT_EQ(driver[3].finish.reason, RejectReason::kQueueFull);
}

TEST(Fifo, GoesPastWhatTheDeviceCannotRun) {
  NodeBuilder node({1, 1});
  const GenerationIndex first = node.Model("first", {{1, 10}});
  const GenerationIndex second = node.Model("second", {{1, 10}});
  node[second].variants[0].placements.clear();
  node.Place(second, 0, 1, {{1, 10}});
  VirtualDriver driver = Drive(node, Fifo());
  driver.ArriveAt(At(milliseconds(0)), Of(first));
  driver.ArriveAt(At(milliseconds(1)), Of(first));
  driver.ArriveAt(At(milliseconds(2)), Of(second));
  driver.Run();
  EXPECT_EQ(driver[1].started, At(milliseconds(10)));
  EXPECT_EQ(driver[2].started, At(milliseconds(2)));
  EXPECT_EQ(driver[2].finish.device, 1U);
}

TEST(Fifo, TakesTheMostAccurateVariantThatHasAnInstance) {
  NodeBuilder node({3});
  const GenerationIndex g = node.Model("m", {{1, 10}});
  node[g].variants[0].accuracy_pct = 80;
  const std::uint32_t best = node.AddVariant(g, "best", 90, {{1, 20}});
  node.AddVariant(g, "worst", 70, {{1, 1}});
  node[g].default_variant = best;
  for (Variant& variant : node[g].variants) variant.placements[0].instances = 1;
  node.application(0).on_miss = OnMiss::kDegrade;
  VirtualDriver driver = Drive(node, Fifo());
  for (int i = 0; i < 3; ++i) driver.ArriveAt(At(milliseconds(0)), Of(g));
  driver.Run();
  EXPECT_EQ(driver[0].finish.variant, best);
  EXPECT_EQ(driver[1].finish.variant, 0U);
  EXPECT_EQ(driver[2].finish.variant, 2U);
}

}  // namespace
}  // namespace duly
