// SPDX-License-Identifier: Apache-2.0
#include "policy/size_or_timeout/size_or_timeout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;
using testing::IsEmpty;

std::unique_ptr<DispatchPolicy> SizeOrTimeout(SizeOrTimeoutOptions options = {}) {
  return std::make_unique<SizeOrTimeoutPolicy>(options);
}

// One slot and a model "m" of at most 8 rows that takes 10 ms and waits for 5 ms.
NodeBuilder NodeWith(std::vector<std::uint32_t> preferred_rows) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}, {8, 10}}, 8);
  node[g].batching = DynamicBatching();
  node[g].batching->max_queue_delay = milliseconds(5);
  node[g].batching->preferred_rows = std::move(preferred_rows);
  return node;
}

Arrival Rows(std::uint32_t rows) {
  Arrival arrival;
  arrival.rows = rows;
  return arrival;
}

TEST(SizeOrTimeout, WaitsForTheDelayOfTheFirstInTheQueue) {
  NodeBuilder node = NodeWith({});
  VirtualDriver driver = Drive(node, SizeOrTimeout());
  for (const int ms : {0, 2, 4}) driver.ArriveAt(At(milliseconds(ms)), Of(0));
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(driver[i].started, At(milliseconds(5)));
    EXPECT_EQ(driver[i].finish.batch_rows, 3U);
  }
}

TEST(SizeOrTimeout, DoesNotWaitForMoreThanAPreferredSize) {
  NodeBuilder node = NodeWith({4});
  VirtualDriver driver = Drive(node, SizeOrTimeout());
  for (const int ms : {0, 1, 2, 3}) driver.ArriveAt(At(milliseconds(ms)), Of(0));
  driver.Run();
  EXPECT_EQ(driver[0].started, At(milliseconds(3)));
  EXPECT_EQ(driver[0].finish.batch_rows, 4U);
}

TEST(SizeOrTimeout, TakesTheLargestPreferredSizeThatIsThere) {
  NodeBuilder node = NodeWith({2, 4});
  node[0].batching->max_queue_delay = milliseconds(50);
  VirtualDriver driver = Drive(node, SizeOrTimeout());
  // A pair runs at once; behind it 7 wait for the slot: 4, then 2, and the last one for its delay.
  for (int i = 0; i < 9; ++i) driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.Run();
  const auto started = [&](std::size_t i) { return driver[i].started - At(milliseconds(0)); };
  EXPECT_EQ(started(1), milliseconds(0));
  EXPECT_EQ(started(2), milliseconds(10));
  EXPECT_EQ(driver[5].finish.batch_rows, 4U);
  EXPECT_EQ(started(6), milliseconds(20));
  EXPECT_EQ(driver[7].finish.batch_rows, 2U);
  EXPECT_EQ(started(8), milliseconds(50));
  EXPECT_EQ(driver[8].finish.batch_rows, 1U);
}

TEST(SizeOrTimeout, DoesNotWaitWhenNoMoreRowsFit) {
  NodeBuilder node = NodeWith({});
  VirtualDriver driver = Drive(node, SizeOrTimeout());
  driver.ArriveAt(At(milliseconds(0)), Rows(3));
  driver.ArriveAt(At(milliseconds(1)), Rows(4));
  driver.ArriveAt(At(milliseconds(2)), Rows(2));  // 9 would be too many
  driver.ArriveAt(At(milliseconds(3)), Rows(6));  // 8 with the one before
  driver.Run();
  EXPECT_EQ(driver[1].started, At(milliseconds(2)));
  EXPECT_EQ(driver[1].finish.batch_rows, 7U);
  EXPECT_EQ(driver[2].started, At(milliseconds(12)));
  EXPECT_EQ(driver[2].finish.batch_rows, 8U);
}

TEST(SizeOrTimeout, WithoutDynamicBatchingRunsOneByOneUnlessTold) {
  for (const Duration delay : {Duration(-1), Duration(milliseconds(3))}) {
    NodeBuilder node = NodeWith({});
    node[0].batching.reset();
    SizeOrTimeoutOptions options;
    options.max_queue_delay = delay;
    VirtualDriver driver = Drive(node, SizeOrTimeout(options));
    for (int i = 0; i < 2; ++i) driver.ArriveAt(At(milliseconds(0)), Of(0));
    driver.Run();
    EXPECT_EQ(driver[0].started, At(std::max(delay, Duration(0))));
    EXPECT_EQ(driver[0].finish.batch_rows, delay < Duration(0) ? 1U : 2U);
  }
}

TEST(SizeOrTimeout, RunsTheModelThatIsReadyAndOfThoseTheOneThatCameFirst) {
  NodeBuilder node = NodeWith({});
  node[0].batching->max_queue_delay = milliseconds(100);
  const GenerationIndex second = node.Model("second", {{1, 10}});
  const GenerationIndex third = node.Model("third", {{1, 10}});
  VirtualDriver driver = Drive(node, SizeOrTimeout());
  driver.ArriveAt(At(milliseconds(0)), Of(0));  // not ready before 100
  driver.ArriveAt(At(milliseconds(1)), Of(third));
  driver.ArriveAt(At(milliseconds(2)), Of(third));
  driver.ArriveAt(At(milliseconds(3)), Of(second));
  driver.Run();
  EXPECT_EQ(driver[1].started, At(milliseconds(1)));
  EXPECT_EQ(driver[2].started, At(milliseconds(11)));
  EXPECT_EQ(driver[3].started, At(milliseconds(21)));
  EXPECT_EQ(driver[0].started, At(milliseconds(100)));
}

TEST(SizeOrTimeout, KeepsTheQueueSizeOfTheModel) {
  NodeBuilder node = NodeWith({});
  node[0].batching->queue.max_requests = 2;
  const GenerationIndex other = node.Model("other", {{1, 10}});
  VirtualDriver driver = Drive(node, SizeOrTimeout());
  for (int i = 0; i < 3; ++i) driver.ArriveAt(At(milliseconds(0)), Of(0));
  for (int i = 0; i < 4; ++i) driver.ArriveAt(At(milliseconds(0)), Of(other));
  driver.Run();
  EXPECT_EQ(driver[1].finish.outcome, Outcome::kOnTime);
  EXPECT_EQ(driver[2].finish.reason, RejectReason::kQueueFull);
  EXPECT_EQ(driver[6].finish.outcome, Outcome::kOnTime);
}

TEST(SizeOrTimeout, WaitsNoLongerThanTheDelayOfTheOldestWhateverItsPriority) {
  NodeBuilder node = NodeWith({});
  node[0].batching->levels.resize(2);
  node[0].batching->default_level = 2;
  VirtualDriver driver = Drive(node, SizeOrTimeout());
  driver.ArriveAt(At(milliseconds(0)), Of(0));
  Arrival urgent = Of(0);
  urgent.priority = 1;
  driver.ArriveAt(At(milliseconds(4)), urgent);
  driver.Run();
  for (const std::size_t i : {0U, 1U}) EXPECT_EQ(driver[i].started, At(milliseconds(5)));
  // Its batch has it first.
  EXPECT_EQ(driver[1].finish.batch_position, 0U);
}

TEST(SizeOrTimeout, PatienceEndsWhileABatchFills) {
  NodeBuilder node = NodeWith({});
  VirtualDriver driver = Drive(node, SizeOrTimeout());
  driver.ArriveAt(At(milliseconds(0)), Patient(milliseconds(4)));
  driver.ArriveAt(At(milliseconds(1)), Of(0));
  driver.Run();
  EXPECT_EQ(driver[0].finish.outcome, Outcome::kExpired);
  EXPECT_EQ(driver[0].ended, At(milliseconds(4)));
  // The delay is now that of the other.
  EXPECT_EQ(driver[1].started, At(milliseconds(6)));
}

TEST(SizeOrTimeout, GivesUpAfterAPartOfThePromiseIfTold) {
  for (const double part : {0.0, 0.5}) {
    NodeBuilder node = NodeWith({});
    node.Model("other", {{1, 30}});
    SizeOrTimeoutOptions options;
    options.give_up_after = part;
    VirtualDriver driver = Drive(node, SizeOrTimeout(options));
    driver.ArriveAt(At(milliseconds(0)), Of(1));
    driver.ArriveAt(At(milliseconds(2)), Promised(milliseconds(20)));
    driver.Run();
    if (part == 0) {
      EXPECT_EQ(driver[1].finish.outcome, Outcome::kLate);
      EXPECT_EQ(driver[1].started, At(milliseconds(30)));
    } else {
      EXPECT_EQ(driver[1].finish.reason, RejectReason::kPredictedLate);
      EXPECT_EQ(driver[1].ended, At(milliseconds(12)));
    }
  }
}

}  // namespace
}  // namespace duly
