// SPDX-License-Identifier: Apache-2.0
#include "policy/edf/edf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "engine/engine_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::IsEmpty;

std::unique_ptr<DispatchPolicy> Edf(EdfOptions options) {
  return std::make_unique<EdfPolicy>(options);
}
// Nothing is kept for the way of the answer, so that figures are round.
std::unique_ptr<DispatchPolicy> Edf() {
  EdfOptions options;
  options.reserve = Duration(0);
  return Edf(options);
}

Duration Started(const VirtualDriver& driver, std::size_t request) {
  return driver[request].started - TimePoint();
}

// Order.

TEST(Edf, RunsTheNearestDeadlineFirstAcrossModels) {
  NodeBuilder node;
  for (const char* name : {"a", "b", "c"}) node.Model(name, {{1, 10}});
  VirtualDriver driver = Drive(node, Edf());
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(100), 0));
  driver.ArriveAt(At(milliseconds(1)), Promised(milliseconds(200), 0));
  driver.ArriveAt(At(milliseconds(2)), Promised(milliseconds(150), 1));
  driver.ArriveAt(At(milliseconds(3)), Promised(milliseconds(100), 2));
  driver.ArriveAt(At(milliseconds(4)), Patient(milliseconds(100), 1));
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  EXPECT_EQ(Started(driver, 3), milliseconds(10));
  EXPECT_EQ(Started(driver, 4), milliseconds(20));
  EXPECT_EQ(Started(driver, 2), milliseconds(30));
  EXPECT_EQ(Started(driver, 1), milliseconds(40));
}

TEST(Edf, RunsWhatWillRatherBeLateAfterWhatIsSurer) {
  NodeBuilder node;
  const GenerationIndex varying = node.Model("varying", {{1, 10}});
  const GenerationIndex sure = node.Model("sure", {{1, 1}});
  int batches = 0;
  VirtualDriver driver(node.config(), Edf(), [&](const StartBatch& start) -> Duration {
    if (start.generation == sure) return milliseconds(1);
    return ++batches % 2 == 0 ? milliseconds(6) : milliseconds(14);
  });
  for (int i = 0; i < 40; ++i) driver.ArriveAt(At(milliseconds(20 * i)), Of(varying));
  // Behind the last of these: one that takes about 10 ms of the 12 that it has left at 814, and one
  // that has time.
  driver.ArriveAt(At(milliseconds(800)), Of(varying));
  driver.ArriveAt(At(milliseconds(801)), Promised(milliseconds(25), varying));
  driver.ArriveAt(At(milliseconds(802)), Promised(milliseconds(100), sure));
  driver.Run();
  ASSERT_EQ(driver[40].ended, At(milliseconds(814)));
  EXPECT_EQ(Started(driver, 42), milliseconds(814));
  EXPECT_EQ(Started(driver, 41), milliseconds(815));
}

TEST(Edf, LeavesToAnotherDeviceWhatOnlyThatCanDoInTime) {
  NodeBuilder node({1, 1});
  const GenerationIndex g = node.Model("m", {{1, 50}});
  node.Place(g, 0, 1, {{1, 10}});
  VirtualDriver driver = Drive(node, Edf());
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(100)));  // on the first device
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(100)));  // on the second
  driver.ArriveAt(At(milliseconds(1)), Promised(milliseconds(30)));
  driver.Run();
  EXPECT_EQ(driver[2].finish.device, 1U);
  EXPECT_EQ(Started(driver, 2), milliseconds(10));
  EXPECT_EQ(driver[2].finish.outcome, Outcome::kOnTime);
}

// Batches.

// A slot that is busy until 10 ms with "busy", and "m", of which a batch of n rows takes 9 + n ms.
NodeBuilder BusyNode() {
  NodeBuilder node;
  node.Model("busy", {{1, 10}});
  node.Model("m", {{1, 10}, {8, 17}}, 8);
  return node;
}

TEST(Edf, ABatchGrowsWhileItsTightestPromiseHolds) {
  for (const int slo_ms : {20, 23, 26, 90}) {
    NodeBuilder node = BusyNode();
    VirtualDriver driver = Drive(node, Edf());
    driver.ArriveAt(At(milliseconds(0)), Promised(seconds(1), 0));
    driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(slo_ms), 1));
    for (int i = 0; i < 9; ++i) driver.ArriveAt(At(milliseconds(0)), Promised(seconds(1), 1));
    driver.Run();
    ASSERT_THAT(driver.violations(), IsEmpty());
    EXPECT_EQ(Started(driver, 1), milliseconds(10));
    // n rows end at 19 + n.
    EXPECT_EQ(driver[1].finish.batch_rows, static_cast<std::uint32_t>(std::min(slo_ms - 19, 8)));
  }
}

TEST(Edf, ATighterPromiseThatWouldJoinBoundsTheBatchToo) {
  // Due first because of its patience; the one behind it has the tighter promise.
  NodeBuilder node = BusyNode();
  VirtualDriver driver = Drive(node, Edf());
  driver.ArriveAt(At(milliseconds(0)), Promised(seconds(1), 0));
  driver.ArriveAt(At(milliseconds(0)), Patient(milliseconds(11), 1));
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(22), 1));
  for (int i = 0; i < 6; ++i) driver.ArriveAt(At(milliseconds(0)), Promised(seconds(1), 1));
  driver.Run();
  EXPECT_EQ(driver[1].started, driver[2].started);
  EXPECT_EQ(driver[2].finish.batch_rows, 3U);
  EXPECT_EQ(driver[2].finish.outcome, Outcome::kOnTime);
}

TEST(Edf, ABatchGrowsOnlyWhereThatSavesFivePercent) {
  // Of two rows: 2 * 10 ms apart, together 4 or 6 % less.
  for (const double together : {19.2, 18.8}) {
    NodeBuilder node;
    node.Model("m", {{1, 10}, {2, together}}, 2);
    VirtualDriver driver = Drive(node, Edf());
    for (int i = 0; i < 3; ++i) driver.ArriveAt(At(milliseconds(0)), Promised(seconds(1)));
    driver.Run();
    EXPECT_EQ(driver[1].finish.batch_rows, together > 19 ? 1U : 2U);
  }
}

TEST(Edf, ABatchLeavesTimeForThePromisesOfOtherModels) {
  NodeBuilder node = BusyNode();
  const GenerationIndex other = node.Model("other", {{1, 5}});
  VirtualDriver driver = Drive(node, Edf());
  driver.ArriveAt(At(milliseconds(0)), Promised(seconds(1), 0));
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(25), 1));
  // Must start by 23: room for a batch of 13 ms, which is one of 4 rows.
  driver.ArriveAt(At(milliseconds(1)), Promised(milliseconds(27), other));
  for (int i = 0; i < 7; ++i) driver.ArriveAt(At(milliseconds(1)), Promised(seconds(1), 1));
  driver.Run();
  EXPECT_EQ(driver[1].finish.batch_rows, 4U);
  EXPECT_EQ(Started(driver, 2), milliseconds(23));
  EXPECT_EQ(driver[2].finish.outcome, Outcome::kOnTime);
}

TEST(Edf, FillsABatchForAsLongAsItIsToldAndItsPromisesAllow) {
  EdfOptions options;
  options.reserve = Duration(0);
  options.max_fill_wait = milliseconds(20);
  const auto start_of_first = [&](Duration slo, int others) {
    NodeBuilder node;
    node.Model("m", {{1, 10}, {4, 13}}, 4);
    VirtualDriver driver = Drive(node, Edf(options));
    driver.ArriveAt(At(milliseconds(0)), Promised(slo));
    for (int i = 0; i < others; ++i) driver.ArriveAt(At(milliseconds(5)), Promised(slo));
    driver.Run();
    EXPECT_THAT(driver.violations(), IsEmpty());
    EXPECT_EQ(driver[0].finish.outcome, Outcome::kOnTime);
    return Started(driver, 0);
  };
  EXPECT_EQ(start_of_first(milliseconds(100), 0), milliseconds(20));
  EXPECT_EQ(start_of_first(milliseconds(100), 3), milliseconds(5));
  // Two rows take 11 ms.
  EXPECT_EQ(start_of_first(milliseconds(25), 0), milliseconds(14));
  EXPECT_EQ(start_of_first(milliseconds(10), 0), milliseconds(0));
}

// Admission.

TEST(Edf, KeepsAReserveOfAtMostATenthOfThePromise) {
  const auto outcome = [](double service_ms, double slo_ms) {
    NodeBuilder node;
    node.Model("m", {{1, service_ms}});
    VirtualDriver driver = Drive(node, Edf(EdfOptions()));
    driver.ArriveAt(At(milliseconds(0)), Promised(Millis(slo_ms)));
    driver.Run();
    return driver[0].finish.outcome;
  };
  EXPECT_EQ(outcome(19, 20), Outcome::kOnTime);
  EXPECT_EQ(outcome(19.1, 20), Outcome::kRejected);
  EXPECT_EQ(outcome(1.8, 2), Outcome::kOnTime);
  EXPECT_EQ(outcome(1.81, 2), Outcome::kRejected);
}

TEST(Edf, RefusesAtOnceWhatWouldBeLateOrMakeAnotherLate) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Edf());
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(10)));
  driver.ArriveAt(At(milliseconds(1)), Promised(milliseconds(30)));  // 20 to 30 at the latest
  driver.ArriveAt(At(milliseconds(2)), Promised(milliseconds(17)));  // not before 20
  driver.ArriveAt(At(milliseconds(3)), Promised(milliseconds(20)));  // 10 to 20: before the second
  driver.ArriveAt(At(milliseconds(4)), Promised(milliseconds(18)));  // would make the second late
  driver.ArriveAt(At(milliseconds(5)), Promised(milliseconds(35)));  // 30 to 40
  driver.Run();
  for (const std::size_t i : {0U, 1U, 3U, 5U}) {
    EXPECT_EQ(driver[i].finish.outcome, Outcome::kOnTime) << i;
  }
  EXPECT_EQ(driver[5].finish.predicted, milliseconds(35));
  for (const std::size_t i : {2U, 4U}) {
    EXPECT_EQ(driver[i].finish.reason, RejectReason::kPredictedLate) << i;
    EXPECT_EQ(driver[i].ended, driver[i].arrived);
  }
}

TEST(Edf, NeverRefusesPatienceByPrediction) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Edf());
  for (int i = 0; i < 3; ++i) driver.ArriveAt(At(milliseconds(0)), Patient(milliseconds(15)));
  driver.Run();
  EXPECT_EQ(driver[1].finish.outcome, Outcome::kOnTime);
  EXPECT_EQ(driver[2].finish.outcome, Outcome::kExpired);
}

// What is known of one request to the simulation below.
struct Job {
  TimePoint promise;
  Duration service{0};
};

// Whether all jobs end in time on slots that come free at these times, if whenever one does, the
// job with the nearest promise runs on it (of equal ones, the first).
bool AllInTime(std::vector<Job> jobs, std::vector<TimePoint> free_at) {
  std::stable_sort(jobs.begin(), jobs.end(),
                   [](const Job& a, const Job& b) { return a.promise < b.promise; });
  for (const Job& job : jobs) {
    TimePoint& slot = *std::min_element(free_at.begin(), free_at.end());
    slot += job.service;
    if (slot > job.promise) return false;
  }
  return true;
}

class EdfAdmission : public testing::TestWithParam<std::uint64_t> {};

// All arrive before anything that started has ended, so that nothing but the queue decides. Models
// do not batch.
TEST_P(EdfAdmission, AcceptsWhatASimulationOfTheQueueFindsFeasible) {
  RandomStream random(GetParam(), "edf/admission");
  const auto below = [&](std::uint64_t bound) { return static_cast<int>(random.Below(bound)); };
  std::size_t accepted = 0;
  std::size_t refused = 0;
  for (int round = 0; round < 200; ++round) {
    const auto slots = 1 + static_cast<std::uint32_t>(below(3));
    NodeBuilder node({slots});
    std::vector<Duration> services;
    for (int m = 0; m < 3; ++m) {
      services.push_back(milliseconds(20 + below(30)));
      node.Model("m" + std::to_string(m), {{1, ToMillis(services.back())}});
    }
    VirtualDriver driver = Drive(node, Edf());
    std::vector<Job> jobs;
    for (int i = 0; i < 10; ++i) {
      const auto g = static_cast<GenerationIndex>(below(3));
      const TimePoint now = At(milliseconds(i));
      const Duration slo = milliseconds(30 + below(100));
      jobs.push_back({now + slo, services[g]});
      driver.ArriveAt(now, Promised(slo, g));
    }
    driver.Run();
    ASSERT_THAT(driver.violations(), IsEmpty());

    std::vector<Job> waiting;
    std::vector<TimePoint> free_at(slots);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const TimePoint now = At(milliseconds(i));
      for (TimePoint& t : free_at) t = std::max(t, now);
      std::vector<Job> with = waiting;
      with.push_back(jobs[i]);
      const bool feasible = AllInTime(with, free_at);
      // What was accepted is served in time; what was not ends at once.
      ASSERT_EQ(driver[i].finish.outcome, feasible ? Outcome::kOnTime : Outcome::kRejected)
          << "round " << round << ", request " << i;
      ++(feasible ? accepted : refused);
      if (!feasible) {
        EXPECT_EQ(driver[i].ended, now);
        continue;
      }
      TimePoint& slot = *std::min_element(free_at.begin(), free_at.end());
      if (slot == now) {
        slot += jobs[i].service;
      } else {
        waiting = with;
      }
    }
  }
  EXPECT_GT(accepted, 500U);
  EXPECT_GT(refused, 500U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, EdfAdmission, testing::Range<std::uint64_t>(1, 5));

class EdfPromises : public testing::TestWithParam<std::uint64_t> {};

// Batches, several models and slots, four times the load of single rows: as long as services take
// what is predicted, what is accepted is on time or gives way to another application (but for one
// in a hundred, because shares and the bound of batches change while it waits), and no slot stands
// idle beside a request that it could run.
TEST_P(EdfPromises, AreKeptAndNoSlotIsIdleBesideWork) {
  RandomStream random(GetParam(), "edf/promises");
  const auto slots = 1 + static_cast<std::uint32_t>(random.Below(3));
  NodeBuilder node({slots});
  std::vector<Duration> slos;
  double all_ms = 0;
  for (int m = 0; m < 3; ++m) {
    slos.push_back(milliseconds(20 + random.Below(60)));
    const double ms = 1 + random.Uniform() * 9;
    all_ms += ms;
    node.Model("m" + std::to_string(m), {{1, ms}, {8, ms * (1 + 7 * random.Uniform())}}, 8);
  }
  VirtualDriver driver = Drive(node, Edf());
  TimePoint now{};
  for (int i = 0; i < 400; ++i) {
    now += Duration(static_cast<std::int64_t>(random.Exponential(1e6 * all_ms / 3 / 4 / slots)));
    const auto g = static_cast<GenerationIndex>(random.Below(3));
    driver.ArriveAt(now, Promised(slos[g], g));
  }
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  std::size_t accepted = 0;
  std::size_t broken = 0;
  std::vector<std::pair<TimePoint, int>> changes;  // of the number of busy slots
  for (const VirtualDriver::Record& record : driver.records()) {
    if (record.ended > record.arrived && record.finish.reason != RejectReason::kYielded) {
      ++accepted;
      broken += record.finish.outcome != Outcome::kOnTime;
    }
    if (record.started == kNever) continue;
    if (record.finish.batch_position == 0) {
      changes.emplace_back(record.started, 1);
      changes.emplace_back(record.ended, -1);
    }
  }
  EXPECT_GT(accepted, 100U);
  EXPECT_LT(accepted, 400U);
  EXPECT_LE(broken, accepted / 100);
  std::sort(changes.begin(), changes.end());
  for (const VirtualDriver::Record& record : driver.records()) {
    if (record.started == kNever || record.started == record.arrived) continue;
    int busy = 0;
    for (std::size_t i = 0; i < changes.size() && changes[i].first < record.started; ++i) {
      busy += changes[i].second;
      const bool lasts = i + 1 == changes.size() || changes[i + 1].first > changes[i].first;
      if (lasts && changes[i].first >= record.arrived) {
        ASSERT_EQ(busy, slots) << "at " << ToMillis(changes[i].first - TimePoint()) << " ms";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, EdfPromises, testing::Range<std::uint64_t>(1, 21));

// What happens to a miss.

TEST(Edf, DegradesToTheMostAccurateThatIsInTimeWithinTheFloor) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}});
  const std::uint32_t fair = 0;
  node[g].variants[fair].accuracy_pct = 80;
  const std::uint32_t best = node.AddVariant(g, "best", 95, {{1, 40}});
  node.AddVariant(g, "poor", 60, {{1, 1}});
  const std::uint32_t good = node.AddVariant(g, "good", 90, {{1, 20}});
  node[g].default_variant = best;
  node.application(0).min_accuracy_pct = 75;
  const auto finish = [&](OnMiss on_miss, int slo_ms) {
    node.application(0).on_miss = on_miss;
    VirtualDriver driver = Drive(node, Edf());
    driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(slo_ms)));
    driver.Run();
    return driver[0].finish;
  };
  EXPECT_EQ(finish(OnMiss::kDegrade, 40).variant, best);
  EXPECT_EQ(finish(OnMiss::kDegrade, 39).variant, good);
  EXPECT_EQ(finish(OnMiss::kDegrade, 19).variant, fair);
  EXPECT_EQ(finish(OnMiss::kDegrade, 10).outcome, Outcome::kOnTime);
  EXPECT_EQ(finish(OnMiss::kDegrade, 9).reason, RejectReason::kPredictedLate);
  EXPECT_EQ(finish(OnMiss::kRefuse, 39).reason, RejectReason::kPredictedLate);
}

TEST(Edf, DegradesBecauseOfWhatWaits) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 20}});
  node[g].variants[0].accuracy_pct = 95;
  const std::uint32_t fast = node.AddVariant(g, "fast", 90, {{1, 5}});
  node.application(0).on_miss = OnMiss::kDegrade;
  VirtualDriver driver = Drive(node, Edf());
  for (int i = 0; i < 3; ++i) driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(46)));
  driver.Run();
  EXPECT_EQ(driver[1].finish.variant, 0U);
  EXPECT_EQ(driver[2].finish.variant, fast);
  EXPECT_EQ(driver[2].finish.predicted, milliseconds(45));
  EXPECT_EQ(driver[2].ended, At(milliseconds(45)));
}

TEST(Edf, DegradesNoFurtherThanOthersPromisesNeed) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}});
  const std::uint32_t good = 0;
  node[g].variants[good].accuracy_pct = 90;
  node[g].default_variant = node.AddVariant(g, "best", 95, {{1, 20}});
  node.AddVariant(g, "fast", 80, {{1, 5}});
  node.application(0).on_miss = OnMiss::kDegrade;
  const GenerationIndex other = node.Model("other", {{1, 10}});
  VirtualDriver driver = Drive(node, Edf());
  driver.ArriveAt(At(milliseconds(0)), Promised(seconds(1), other));
  driver.ArriveAt(At(milliseconds(1)), Promised(milliseconds(34), other));  // must start by 25
  driver.ArriveAt(At(milliseconds(2)), Promised(milliseconds(30), g));      // before it, from 10 on
  driver.Run();
  EXPECT_EQ(driver[2].finish.variant, good);
  EXPECT_EQ(driver[2].ended, At(milliseconds(20)));
  EXPECT_EQ(driver[1].finish.outcome, Outcome::kOnTime);
}

TEST(Edf, ServesLateBehindAllThatCanBeOnTime) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  node.application(0).on_miss = OnMiss::kServeLate;
  VirtualDriver driver = Drive(node, Edf());
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(10)));
  driver.ArriveAt(At(milliseconds(1)), Promised(milliseconds(12)));  // cannot be
  driver.ArriveAt(At(milliseconds(2)), Promised(milliseconds(28)));
  driver.ArriveAt(At(milliseconds(3)), Promised(milliseconds(40)));
  driver.Run();
  EXPECT_EQ(driver[1].finish.outcome, Outcome::kLate);
  EXPECT_EQ(Started(driver, 1), milliseconds(30));
  EXPECT_EQ(driver[2].finish.outcome, Outcome::kOnTime);
  EXPECT_EQ(driver[3].finish.outcome, Outcome::kOnTime);
}

// A service that takes longer than predicted makes a promise impossible that was accepted.
TEST(Edf, TurnsAwayWhatHasBecomeImpossible) {
  for (const OnMiss on_miss : {OnMiss::kRefuse, OnMiss::kServeLate}) {
    NodeBuilder node;
    node.Model("m", {{1, 10}});
    node.application(0).on_miss = on_miss;
    VirtualDriver driver(node.config(), Edf(), [](const StartBatch&) { return milliseconds(15); });
    driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(50)));
    driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(22)));
    driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(90)));
    driver.Run();
    if (on_miss == OnMiss::kRefuse) {
      EXPECT_EQ(driver[1].finish.reason, RejectReason::kPredictedLate);
      EXPECT_EQ(driver[1].ended, At(milliseconds(15)));
    } else {
      EXPECT_EQ(driver[1].finish.outcome, Outcome::kLate);
      EXPECT_EQ(Started(driver, 1), milliseconds(30));
    }
    EXPECT_EQ(Started(driver, 2), milliseconds(15));
  }
}

TEST(Edf, ADeadlineThatPassesWhileASlotOverrunsIsTold) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver(node.config(), Edf(), [](const StartBatch&) { return milliseconds(50); });
  for (int i = 0; i < 2; ++i) driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(22)));
  driver.Run();
  EXPECT_EQ(driver[1].finish.reason, RejectReason::kPredictedLate);
  EXPECT_EQ(driver[1].ended, At(milliseconds(22)));
}

// Shares.

TEST(Edf, InAFullHouseTheLastOfTheApplicationWithMostPlacesByWeightGivesWay) {
  for (const double weight : {1.0, 3.0}) {
    NodeBuilder node;
    const GenerationIndex hog = node.Model("hog", {{1, 10}});
    const GenerationIndex meek = node.Model("meek", {{1, 10}});
    node.application(hog).weight = weight;
    node.config().max_waiting = 3;
    VirtualDriver driver = Drive(node, Edf());
    for (int i = 0; i < 5; ++i) driver.ArriveAt(At(milliseconds(0)), Promised(seconds(1), hog));
    driver.ArriveAt(At(milliseconds(1)), Promised(seconds(1), meek));
    driver.ArriveAt(At(milliseconds(2)), Promised(seconds(1), meek));
    driver.Run();
    ASSERT_THAT(driver.violations(), IsEmpty());
    EXPECT_EQ(driver[4].finish.reason, RejectReason::kQueueFull);
    EXPECT_EQ(driver[2].finish.outcome, Outcome::kOnTime);
    if (weight == 1) {
      EXPECT_EQ(driver[3].finish.reason, RejectReason::kYielded);
      EXPECT_EQ(driver[3].ended, At(milliseconds(1)));
      EXPECT_EQ(driver[5].finish.outcome, Outcome::kOnTime);
    } else {
      EXPECT_EQ(driver[3].finish.outcome, Outcome::kOnTime);
      EXPECT_EQ(driver[5].finish.reason, RejectReason::kQueueFull);
    }
    // Now both have as much as is theirs.
    EXPECT_EQ(driver[6].finish.reason, RejectReason::kQueueFull);
  }
}

TEST(Edf, WhoIsAboveItsShareGivesWayToWhoIsBelow) {
  NodeBuilder node;
  const GenerationIndex hog = node.Model("hog", {{1, 10}});
  const GenerationIndex meek = node.Model("meek", {{1, 10}});
  VirtualDriver driver = Drive(node, Edf());
  // The hog fills the next 100 ms again and again.
  for (int ms = 0; ms < 500; ms += 5) {
    driver.ArriveAt(At(milliseconds(ms)), Promised(milliseconds(100), hog));
  }
  const std::size_t first =
      driver.ArriveAt(At(milliseconds(301)), Promised(milliseconds(40), meek));
  const std::size_t second =
      driver.ArriveAt(At(milliseconds(322)), Promised(milliseconds(40), meek));
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  // It is not known to want more before it has been refused something.
  EXPECT_EQ(driver[first].finish.reason, RejectReason::kPredictedLate);
  EXPECT_EQ(driver[second].finish.outcome, Outcome::kOnTime);
  std::vector<std::size_t> yielded;
  for (std::size_t i = 0; i < first; ++i) {
    if (driver[i].finish.reason != RejectReason::kYielded) continue;
    EXPECT_EQ(driver[i].ended, At(milliseconds(322)));
    yielded.push_back(i);
  }
  EXPECT_FALSE(yielded.empty());
  EXPECT_LE(yielded.size(), 2U);
}

// Requests without promise: a flood of them gets its share and no more while others have promises.
TEST(Edf, AFloodWithoutPromiseLeavesOthersTheirShare) {
  NodeBuilder node;
  const GenerationIndex flood = node.Model("flood", {{1, 5}});
  const GenerationIndex other = node.Model("other", {{1, 5}});
  VirtualDriver driver = Drive(node, Edf());
  for (int ms = 0; ms < 3000; ms += 2) driver.ArriveAt(At(milliseconds(ms)), Of(flood));
  std::vector<std::size_t> promised;
  for (int ms = 1; ms < 3000; ms += 12) {
    promised.push_back(driver.ArriveAt(At(milliseconds(ms)), Promised(milliseconds(60), other)));
  }
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  // They need 5 of 12 ms, less than half of the device.
  const auto on_time = std::count_if(promised.begin(), promised.end(), [&](std::size_t i) {
    return driver[i].finish.outcome == Outcome::kOnTime;
  });
  EXPECT_GE(on_time, static_cast<std::ptrdiff_t>(promised.size() * 95 / 100));
}

}  // namespace
}  // namespace duly
