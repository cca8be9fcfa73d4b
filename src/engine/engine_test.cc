// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/random.h"
#include "engine/engine_test_util.h"
#include "engine/load.h"
#include "engine/virtual_driver.h"
#include "policy/registry.h"

namespace duly {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A policy made of two functions. Left alone it accepts everything and runs the first queue's head
// with the first variant that the device has.
class TestPolicy final : public DispatchPolicy {
 public:
  using Admitter = std::function<Admission(const View&, const Request&, VariantMask, Victims&)>;
  using Chooser = std::function<Dispatch(const View&, DeviceIndex)>;

  static Admission Accept(const Request& candidate, VariantMask allowed) {
    Admission admission;
    admission.variants = allowed;
    admission.variant = candidate.variant;
    return admission;
  }
  static Dispatch RunFirst(const View& view, DeviceIndex device) {
    Dispatch decision;
    const Request& first = *view.order.front();
    const Generation& generation = view.generations[first.generation];
    for (std::uint32_t v = 0; v < generation.variants.size(); ++v) {
      const Placement* placement = generation.variants[v].On(device);
      if ((view.heads[first.queue].variants >> v & 1U) == 0 || placement == nullptr ||
          placement->running == placement->instances) {
        continue;
      }
      decision.kind = Dispatch::Kind::kRun;
      decision.queue = first.queue;
      decision.count = 1;
      decision.variant = v;
      break;
    }
    return decision;
  }

  QueueOrdering ordering() const override { return QueueOrdering::kDue; }
  Duration best_effort_target() const override { return seconds(1); }
  Admission Admit(const View& view, const Request& candidate, GenerationIndex, VariantMask allowed,
                  Victims& victims) override {
    return admit ? admit(view, candidate, allowed, victims) : Accept(candidate, allowed);
  }
  Dispatch Next(const View& view, DeviceIndex device) override {
    return next ? next(view, device) : RunFirst(view, device);
  }

  Admitter admit;
  Chooser next;
};

std::unique_ptr<DispatchPolicy> Simple() { return std::make_unique<TestPolicy>(); }
std::unique_ptr<DispatchPolicy> Admitting(TestPolicy::Admitter admit) {
  auto policy = std::make_unique<TestPolicy>();
  policy->admit = std::move(admit);
  return policy;
}
std::unique_ptr<DispatchPolicy> Choosing(TestPolicy::Chooser next) {
  auto policy = std::make_unique<TestPolicy>();
  policy->next = std::move(next);
  return policy;
}

std::vector<Outcome> OutcomesOf(const VirtualDriver& driver) {
  std::vector<Outcome> outcomes;
  for (const VirtualDriver::Record& record : driver.records()) {
    outcomes.push_back(record.finish.outcome);
  }
  return outcomes;
}

// The life of a request.

TEST(Engine, RunsARequestAndTellsHowItWent) {
  NodeBuilder node({2});
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(
      node, Admitting([](const View&, const Request& candidate, VariantMask allowed, Victims&) {
        Admission admission = TestPolicy::Accept(candidate, allowed);
        admission.predicted = milliseconds(11);
        return admission;
      }));
  driver.ArriveAt(At(milliseconds(5)), Promised(milliseconds(10)));
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  const Finish& finish = driver[0].finish;
  EXPECT_EQ(finish.outcome, Outcome::kOnTime);
  EXPECT_EQ(driver[0].ended, At(milliseconds(15)));
  EXPECT_EQ(finish.device, 0U);
  EXPECT_EQ(finish.batch_rows, 1U);
  EXPECT_EQ(finish.waiting, Duration(0));
  EXPECT_EQ(finish.service, milliseconds(10));
  EXPECT_EQ(finish.predicted, milliseconds(11));
}

TEST(Engine, IsLateOneNanosecondAfterThePromise) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(10)));
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(20) - Duration(1)));
  driver.Run();
  EXPECT_THAT(OutcomesOf(driver), ElementsAre(Outcome::kOnTime, Outcome::kLate));
}

TEST(Engine, WithoutPromiseEveryAnswerIsOnTime) {
  NodeBuilder node;
  node.Model("m", {{1, 100}});
  VirtualDriver driver = Drive(node, Simple());
  for (int i = 0; i < 30; ++i) driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.Run();
  EXPECT_THAT(OutcomesOf(driver), testing::Each(Outcome::kOnTime));
}

TEST(Engine, ExpiresAtExactlyTheInstantByItsTimer) {
  NodeBuilder node;
  node.Model("m", {{1, 300}});
  VirtualDriver driver = Drive(node, Simple());
  for (int i = 0; i < 4; ++i) {
    driver.ArriveAt(At(milliseconds(20 * i)), Patient(milliseconds(20)));
  }
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  EXPECT_THAT(OutcomesOf(driver), ElementsAre(Outcome::kOnTime, Outcome::kExpired,
                                              Outcome::kExpired, Outcome::kExpired));
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(driver[i].ended, driver[i].arrived + milliseconds(20));
    EXPECT_EQ(driver[i].finish.waiting, milliseconds(20));
    EXPECT_EQ(driver[i].finish.device, kNoIndex);
  }
}

TEST(Engine, WhatExpiresWhenASlotComesFreeDoesNotStart) {
  NodeBuilder node;
  node.Model("m", {{1, 20}});
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.ArriveAt(At(milliseconds(0)), Patient(milliseconds(20)));
  driver.ArriveAt(At(milliseconds(0)), Patient(milliseconds(20) + Duration(1)));
  driver.Run();
  EXPECT_THAT(OutcomesOf(driver),
              ElementsAre(Outcome::kOnTime, Outcome::kExpired, Outcome::kOnTime));
}

TEST(Engine, ALateTimerStartsNothingThatHasExpired) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  Engine engine(node.config(), Simple());
  Effects effects;
  Event event;
  event.kind = Event::Kind::kArrival;
  event.arrival = Patient(milliseconds(5));
  engine.Handle(At(milliseconds(0)), event, effects);
  engine.Handle(At(milliseconds(1)), event, effects);
  EXPECT_EQ(engine.NextTimer(), At(milliseconds(6)));
  effects.Clear();
  event.kind = Event::Kind::kBatchDone;
  event.done.batch = 0;
  engine.Handle(At(milliseconds(8)), event, effects);
  ASSERT_EQ(effects.finishes.size(), 2U);
  EXPECT_EQ(effects.finishes[0].outcome, Outcome::kExpired);
  EXPECT_TRUE(effects.starts.empty());
  EXPECT_EQ(engine.NextTimer(), kNever);
  EXPECT_EQ(engine.live_requests(), 0U);
}

TEST(Engine, WithoutAnyPatienceItExpiresAtOnce) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(1)), Patient(Duration(0)));
  driver.Run();
  EXPECT_THAT(OutcomesOf(driver), ElementsAre(Outcome::kExpired));
  EXPECT_EQ(driver[0].ended, At(milliseconds(1)));
}

TEST(Engine, APromiseThatNobodyCanKeepIsAnsweredAtOnce) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  node[node.Model("n", {{1, 10}})].variants[0].placements[0].service = ServicePrediction();
  for (const char* policy : {"edf", "fifo", "size-or-timeout"}) {
    PolicyOptions options;
    if (policy == std::string("size-or-timeout")) options["give_up_after"] = "0.5";
    VirtualDriver driver = Drive(node, MakeDispatchPolicy(policy, options).value());
    for (const GenerationIndex g : {0U, 1U}) {
      for (const Duration slo : {Duration(0), Duration(1)}) {
        driver.ArriveAt(At(milliseconds(100 * g)), Promised(slo, g));
      }
    }
    driver.Run();
    EXPECT_THAT(driver.violations(), IsEmpty()) << policy;
    if (policy != std::string("fifo")) {
      EXPECT_EQ(driver[0].finish.reason, RejectReason::kPredictedLate) << policy;
      EXPECT_EQ(driver[0].ended, At(milliseconds(0)));
    }
  }
}

TEST(Engine, HugeTermsDoNotOverflow) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(1)), Patient(Duration::max()));
  driver.ArriveAt(At(milliseconds(1)), Promised(Duration::max()));
  driver.Run();
  EXPECT_THAT(OutcomesOf(driver), testing::Each(Outcome::kOnTime));
}

TEST(Engine, DropsAWaitingRequestWhenThePolicySaidSo) {
  NodeBuilder node;
  node.Model("m", {{1, 50}});
  VirtualDriver driver = Drive(
      node, Admitting([](const View&, const Request& candidate, VariantMask allowed, Victims&) {
        Admission admission = TestPolicy::Accept(candidate, allowed);
        if (candidate.deadline != kNever) admission.drop_at = candidate.deadline;
        return admission;
      }));
  driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.ArriveAt(At(milliseconds(0)), Promised(milliseconds(30)));
  driver.Run();
  EXPECT_EQ(driver[1].ended, At(milliseconds(30)));
  EXPECT_EQ(driver[1].finish.outcome, Outcome::kRejected);
  EXPECT_EQ(driver[1].finish.reason, RejectReason::kPredictedLate);
}

TEST(Engine, CancelEndsAWaitingRequestAtOnce) {
  NodeBuilder node;
  node.Model("m", {{1, 50}});
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.ArriveAt(At(milliseconds(1)), Patient(milliseconds(40)));
  driver.CancelAt(At(milliseconds(5)), 1);
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  EXPECT_EQ(driver[1].finish.outcome, Outcome::kCancelled);
  EXPECT_EQ(driver[1].ended, At(milliseconds(5)));
  EXPECT_EQ(driver.engine().NextTimer(), kNever);
}

TEST(Engine, CancelOfARunningRequestCountsWhenItsBatchEnds) {
  NodeBuilder node;
  node.Model("m", {{1, 50}});
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.CancelAt(At(milliseconds(5)), 0);
  driver.Run();
  EXPECT_EQ(driver[0].finish.outcome, Outcome::kCancelled);
  EXPECT_EQ(driver[0].ended, At(milliseconds(50)));
  EXPECT_EQ(driver[0].finish.device, 0U);
}

TEST(Engine, CancelOfWhatIsGoneHasNoEffectOnWhoeverHasItsPlace) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.ArriveAt(At(milliseconds(15)), Of(0));
  driver.CancelAt(At(milliseconds(16)), 0);
  driver.CancelAt(At(milliseconds(16)), 0);
  driver.Run();
  ASSERT_EQ(driver[0].id.index, driver[1].id.index);
  EXPECT_THAT(OutcomesOf(driver), ElementsAre(Outcome::kOnTime, Outcome::kOnTime));

  Engine engine(node.config(), Simple());
  Effects effects;
  Event event;
  event.kind = Event::Kind::kCancel;
  event.request = {7, 1};
  engine.Handle(At(milliseconds(0)), event, effects);
  EXPECT_TRUE(effects.finishes.empty());
}

TEST(Engine, AFailedBatchFailsEachOfItsRequestsAndTeachesNothing) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}}, 4);
  node[g].batching = DynamicBatching();
  VirtualDriver driver = Drive(node, MakeDispatchPolicy("size-or-timeout", {}).value());
  driver.FailIf([](const StartBatch& start) { return start.rows == 2; });
  for (int i = 0; i < 3; ++i) driver.ArriveAt(At(milliseconds(i)), Of(0));
  driver.CancelAt(At(milliseconds(15)), 2);
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  EXPECT_THAT(OutcomesOf(driver),
              ElementsAre(Outcome::kOnTime, Outcome::kFailed, Outcome::kCancelled));
  const Engine& engine = driver.engine();
  EXPECT_EQ(engine.generations()[0].variants[0].placements[0].service.factor(), 1);
  EXPECT_EQ(engine.stats().models[0].inference_count, 1U);
  EXPECT_EQ(engine.stats().models[0].execution_count, 2U);
  EXPECT_EQ(engine.stats().models[0].compute_infer.count(), 1U);
}

TEST(Engine, DrainRefusesNewRequestsAndServesTheOthers) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Simple());
  for (const int ms : {0, 1, 3}) driver.ArriveAt(At(milliseconds(ms)), Of(0));
  driver.DrainAt(At(milliseconds(2)));
  driver.Run();
  EXPECT_THAT(OutcomesOf(driver),
              ElementsAre(Outcome::kOnTime, Outcome::kOnTime, Outcome::kRejected));
  EXPECT_EQ(driver[2].finish.reason, RejectReason::kShuttingDown);
}

TEST(Engine, ServesWhatIsLoadedLaterAndNotWhatIsUnloaded) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  NodeBuilder other;
  other.Model("new", {{1, 20}}, 4);
  GenerationLoad load;
  load.index = 1;
  load.generation = other[0];
  load.generation.default_application = 1;
  load.applications.push_back(other.application(0));
  VirtualDriver driver(node.config(), Simple(), [](const StartBatch&) { return milliseconds(15); });
  driver.LoadAt(At(milliseconds(1)), load);
  driver.ArriveAt(At(milliseconds(2)), Of(1));
  driver.UnloadAt(At(milliseconds(20)), 0);
  driver.ArriveAt(At(milliseconds(21)), Of(0));
  load.index = 0;
  load.applications.clear();
  driver.LoadAt(At(milliseconds(22)), load);
  driver.ArriveAt(At(milliseconds(23)), Of(0));
  driver.Run();
  EXPECT_THAT(driver.violations(), IsEmpty());
  EXPECT_THAT(OutcomesOf(driver),
              ElementsAre(Outcome::kOnTime, Outcome::kRejected, Outcome::kOnTime));
  EXPECT_EQ(driver[1].finish.reason, RejectReason::kModelUnavailable);
  EXPECT_EQ(driver[0].finish.application, 1U);
  // The statistics of an index begin anew with what is loaded there.
  EXPECT_EQ(driver.engine().stats().models[0].success.count(), 1U);
  EXPECT_EQ(driver.engine().stats().models[0].reject_reasons.at(
                static_cast<std::size_t>(RejectReason::kModelUnavailable)),
            0U);
}

TEST(Engine, RefusesLoadsThatMakeNoSense) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  std::vector<Generation> generations = node.config().generations;
  std::vector<Application> applications = node.config().applications;
  GenerationLoad load;
  load.generation = generations[0];
  const auto fails = [&](const GenerationLoad& wrong, const std::string& why) {
    EXPECT_THAT(std::string(Apply(wrong, 1, generations, applications).message()), HasSubstr(why));
    EXPECT_EQ(generations.size(), 1U);
  };
  fails(load, "model 0 is loaded, which is there already");
  load.index = 2;
  fails(load, "model 2 is loaded: there are 1");
  load.index = 1;
  load.generation.default_application = 1;
  fails(load, "names application 1 of 1");
  load.generation.default_application = 0;
  load.generation.variants[0].placements[0].device = 1;
  fails(load, "names device 1 of 1");
  load.generation.variants.clear();
  fails(load, "has 0 variants");
  load.generation = generations[0];
  load.applications.resize(1);
  load.applications[0].weight = 0;
  fails(load, "has weight 0");

  EXPECT_FALSE(ApplyUnload(1, generations).ok());
  EXPECT_TRUE(ApplyUnload(0, generations).ok());
  EXPECT_FALSE(ApplyUnload(0, generations).ok());
}

TEST(Engine, BoundsWhatWaits) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  node.config().max_waiting = 3;
  VirtualDriver driver = Drive(node, Simple());
  for (int i = 0; i < 6; ++i) driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.Run();
  EXPECT_EQ(driver[3].finish.outcome, Outcome::kOnTime);
  for (const std::size_t i : {4U, 5U}) {
    EXPECT_EQ(driver[i].finish.reason, RejectReason::kQueueFull);
    EXPECT_EQ(driver[i].ended, At(milliseconds(0)));
  }
}

TEST(Engine, RetryAfterIsTheWorkThatTheNodeHas) {
  NodeBuilder node({1, 1});
  node.Model("m", {{1, 10}});
  node.config().max_waiting = 3;
  VirtualDriver driver = Drive(
      node, Admitting([](const View&, const Request& candidate, VariantMask allowed, Victims&) {
        Admission admission = TestPolicy::Accept(candidate, allowed);
        admission.work = milliseconds(10);
        return admission;
      }));
  for (int i = 0; i < 5; ++i) driver.ArriveAt(At(milliseconds(i)), Of(0));
  driver.Run(At(milliseconds(4)));
  ASSERT_EQ(driver[4].finish.reason, RejectReason::kQueueFull);
  // 6 ms of the running one and 30 ms that wait, on two devices.
  EXPECT_EQ(driver[4].finish.retry_after, milliseconds(18));
}

// Priority levels.

// One slot, a model of 10 ms with three levels, of which the second is the default one.
NodeBuilder NodeWithLevels(std::vector<QueuePolicy> levels = std::vector<QueuePolicy>(3)) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}});
  node[g].batching = DynamicBatching();
  node[g].batching->levels = std::move(levels);
  node[g].batching->default_level = 2;
  return node;
}

Arrival OfPriority(std::uint32_t priority) {
  Arrival arrival;
  arrival.priority = priority;
  return arrival;
}

std::unique_ptr<DispatchPolicy> Fifo() { return MakeDispatchPolicy("fifo", {}).value(); }

std::vector<std::int64_t> StartsInMs(const VirtualDriver& driver) {
  std::vector<std::int64_t> starts;
  for (const VirtualDriver::Record& record : driver.records()) {
    starts.push_back(record.started == kNever ? -1 : ToNanos(record.started) / 1'000'000);
  }
  return starts;
}

TEST(EngineLevels, GoBeforeArrivalAndTheDefaultOneIsThatOfOtherModels) {
  NodeBuilder node = NodeWithLevels();
  const GenerationIndex other = node.Model("other", {{1, 10}});
  VirtualDriver driver = Drive(node, Fifo());
  driver.ArriveAt(At(milliseconds(0)), OfPriority(0));
  driver.ArriveAt(At(milliseconds(1)), OfPriority(3));
  driver.ArriveAt(At(milliseconds(2)), OfPriority(2));
  driver.ArriveAt(At(milliseconds(3)), Of(other));
  driver.ArriveAt(At(milliseconds(4)), OfPriority(4));  // none of its levels
  driver.ArriveAt(At(milliseconds(5)), OfPriority(1));
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  EXPECT_THAT(StartsInMs(driver), ElementsAre(0, 50, 20, 30, 40, 10));
}

TEST(EngineLevels, MeanNothingToAModelWithoutThem) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Fifo());
  driver.ArriveAt(At(milliseconds(0)), OfPriority(3));
  driver.ArriveAt(At(milliseconds(1)), OfPriority(2));
  driver.ArriveAt(At(milliseconds(2)), OfPriority(1));
  driver.Run();
  EXPECT_THAT(StartsInMs(driver), ElementsAre(0, 10, 20));
}

TEST(EngineLevels, HaveQueuesOfTheirOwnSize) {
  NodeBuilder node = NodeWithLevels({{.max_requests = 1}, {}, {.max_requests = 2}});
  VirtualDriver driver = Drive(node, Fifo());
  for (const std::uint32_t priority : {2U, 1U, 1U, 3U, 3U, 3U, 2U}) {
    driver.ArriveAt(At(milliseconds(0)), OfPriority(priority));
  }
  driver.ArriveAt(At(milliseconds(15)), OfPriority(1));
  driver.Run();
  EXPECT_THAT(StartsInMs(driver), ElementsAre(0, 10, -1, 40, 50, -1, 30, 20));
  EXPECT_EQ(driver[2].finish.reason, RejectReason::kQueueFull);
}

TEST(EngineLevels, HavePatienceOfTheirOwn) {
  NodeBuilder node =
      NodeWithLevels({{.default_timeout = milliseconds(5)},
                      {},
                      {.default_timeout = milliseconds(15), .allow_timeout_override = false}});
  node[0].timeout = milliseconds(100);
  VirtualDriver driver = Drive(node, Fifo());
  driver.ArriveAt(At(milliseconds(0)), OfPriority(2));
  driver.ArriveAt(At(milliseconds(0)), OfPriority(1));
  Arrival patient = OfPriority(1);
  patient.timeout = milliseconds(12);
  driver.ArriveAt(At(milliseconds(0)), patient);
  patient.priority = 3;
  patient.timeout = milliseconds(50);
  driver.ArriveAt(At(milliseconds(0)), patient);
  driver.Run();
  EXPECT_EQ(driver[1].ended, At(milliseconds(5)));
  EXPECT_EQ(driver[1].finish.outcome, Outcome::kExpired);
  EXPECT_EQ(driver[2].started, At(milliseconds(10)));
  EXPECT_EQ(driver[3].ended, At(milliseconds(15)));
  EXPECT_EQ(driver[3].finish.outcome, Outcome::kExpired);
}

TEST(EngineLevels, DelayedRequestsGoBehindThoseOfTheirLevelWhosePatienceLasts) {
  QueuePolicy delaying;
  delaying.default_timeout = milliseconds(5);
  delaying.on_timeout = OnTimeout::kDelay;
  NodeBuilder node = NodeWithLevels({{}, delaying, {}});
  VirtualDriver driver = Drive(node, Fifo());
  driver.ArriveAt(At(milliseconds(0)), OfPriority(1));
  driver.ArriveAt(At(milliseconds(1)), OfPriority(3));
  driver.ArriveAt(At(milliseconds(1)), OfPriority(2));   // until 6
  driver.ArriveAt(At(milliseconds(18)), OfPriority(2));  // until 23
  Arrival bounded = OfPriority(2);
  bounded.call_timeout = milliseconds(25);
  driver.ArriveAt(At(milliseconds(1)), bounded);  // ends with its call
  driver.ArriveAt(At(milliseconds(2)), OfPriority(1));
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  EXPECT_THAT(StartsInMs(driver), ElementsAre(0, 40, 30, 20, -1, 10));
  EXPECT_EQ(driver[4].ended, At(milliseconds(26)));
  EXPECT_EQ(driver[4].finish.outcome, Outcome::kExpired);
}

TEST(EngineLevels, OrderByDueOnlyWhatHasNoTerms) {
  NodeBuilder node = NodeWithLevels();
  std::vector<Duration> targets;
  VirtualDriver driver = Drive(
      node, Admitting([&](const View&, const Request& candidate, VariantMask allowed, Victims&) {
        targets.push_back(candidate.due - candidate.arrival);
        EXPECT_EQ(candidate.rank, 0);
        return TestPolicy::Accept(candidate, allowed);
      }));
  for (const std::uint32_t priority : {1U, 2U, 3U}) {
    driver.ArriveAt(At(milliseconds(0)), OfPriority(priority));
  }
  Arrival promised = Promised(milliseconds(80));
  promised.priority = 1;
  driver.ArriveAt(At(milliseconds(0)), promised);
  driver.Run();
  EXPECT_THAT(targets, ElementsAre(milliseconds(500), seconds(1), seconds(2), milliseconds(80)));
}

// Terms: what bounds a request.

struct TermsCase {
  std::string name;
  std::optional<Duration> request_slo, request_timeout, call_timeout;
  std::optional<Duration> application_slo, application_timeout;
  std::optional<Duration> model_slo, model_timeout;
  TimePoint deadline = kNever, expiry = kNever;
  bool override_allowed = true;
};

class EngineTerms : public testing::TestWithParam<TermsCase> {};

TEST_P(EngineTerms, ComeFromTheNearestThatSaysAnything) {
  const TermsCase& terms = GetParam();
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 1}});
  node[g].slo = terms.model_slo;
  node[g].timeout = terms.model_timeout;
  node[g].batching = DynamicBatching();
  node[g].batching->queue.allow_timeout_override = terms.override_allowed;
  node.application(0).slo = terms.application_slo;
  node.application(0).timeout = terms.application_timeout;
  TimePoint deadline;
  TimePoint expiry;
  VirtualDriver driver = Drive(
      node, Admitting([&](const View&, const Request& candidate, VariantMask allowed, Victims&) {
        deadline = candidate.deadline;
        expiry = candidate.expiry;
        return TestPolicy::Accept(candidate, allowed);
      }));
  Arrival arrival;
  arrival.slo = terms.request_slo.value_or(Duration(-1));
  arrival.timeout = terms.request_timeout.value_or(Duration(-1));
  arrival.call_timeout = terms.call_timeout.value_or(Duration(-1));
  driver.ArriveAt(At(Duration(0)), arrival);
  driver.Run();
  EXPECT_EQ(deadline, terms.deadline);
  EXPECT_EQ(expiry, terms.expiry);
}

std::vector<TermsCase> TermsCases() {
  std::vector<TermsCase> cases;
  const auto add = [&](const std::string& name) -> TermsCase& {
    cases.emplace_back();
    cases.back().name = name;
    return cases.back();
  };
  add("None");
  TermsCase& model = add("Model");
  model.model_slo = milliseconds(7);
  model.model_timeout = milliseconds(8);
  model.deadline = At(milliseconds(7));
  model.expiry = At(milliseconds(8));
  TermsCase& application = add("ApplicationBeforeModel");
  application.model_slo = milliseconds(7);
  application.model_timeout = milliseconds(8);
  application.application_slo = milliseconds(5);
  application.deadline = At(milliseconds(5));
  TermsCase& request = add("RequestBeforeApplication");
  request.application_slo = milliseconds(5);
  request.model_slo = milliseconds(7);
  request.request_timeout = milliseconds(3);
  request.expiry = At(milliseconds(3));
  TermsCase& both = add("RequestMaySayBoth");
  both.request_slo = milliseconds(4);
  both.request_timeout = milliseconds(3);
  both.deadline = At(milliseconds(4));
  both.expiry = At(milliseconds(3));
  TermsCase& forbidden = add("TimeoutOverrideForbidden");
  forbidden.model_timeout = milliseconds(8);
  forbidden.request_timeout = milliseconds(3);
  forbidden.expiry = At(milliseconds(8));
  forbidden.override_allowed = false;
  TermsCase& promise = add("PromiseOverrideIsAlwaysAllowed");
  promise.model_timeout = milliseconds(8);
  promise.request_slo = milliseconds(3);
  promise.deadline = At(milliseconds(3));
  promise.override_allowed = false;
  TermsCase& call = add("TheCallsEndLeavesTheApplicationsPromise");
  call.application_slo = milliseconds(5);
  call.call_timeout = milliseconds(3);
  call.deadline = At(milliseconds(5));
  call.expiry = At(milliseconds(3));
  TermsCase& long_call = add("TheCallsEndBoundsPatienceOnly");
  long_call.request_timeout = milliseconds(3);
  long_call.call_timeout = milliseconds(9);
  long_call.expiry = At(milliseconds(3));
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Cases, EngineTerms, testing::ValuesIn(TermsCases()),
                         [](const auto& test) { return test.param.name; });

TEST(Engine, OrdersByDueAcrossPromisePatienceAndNeither) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(0)), Of(0));                         // runs at once
  driver.ArriveAt(At(milliseconds(1)), Of(0));                         // due at 1001
  driver.ArriveAt(At(milliseconds(1)), Promised(milliseconds(300)));   // due at 301
  driver.ArriveAt(At(milliseconds(1)), Patient(milliseconds(280)));    // due at 281 + 10
  driver.ArriveAt(At(milliseconds(1)), Promised(milliseconds(1000)));  // due at 1001, later
  Arrival patient_call = Of(0);
  patient_call.call_timeout = milliseconds(5000);
  driver.ArriveAt(At(milliseconds(1)), patient_call);  // due at 1001, later still
  driver.ArriveAt(At(milliseconds(2)), Of(0));         // due at 1002
  driver.Run();
  EXPECT_LT(driver[4].started, driver[5].started);
  EXPECT_LT(driver[5].started, driver[6].started);
  EXPECT_LT(driver[3].started, driver[2].started);
  EXPECT_LT(driver[2].started, driver[1].started);
  EXPECT_LT(driver[1].started, driver[4].started);
}

// Variants.

TEST(Engine, ChoosesVariantsByFloorAndByWhatTheClientAskedFor) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 1}});  // variant 0: accuracy unknown
  node.AddVariant(g, "small", 70, {{1, 1}});
  node.AddVariant(g, "large", 90, {{1, 9}});
  node[g].default_variant = 2;
  VariantMask allowed = 0;
  std::uint32_t preferred = 0;
  const auto choices = [&](OnMiss on_miss, double floor, VariantMask asked) {
    node.application(0).on_miss = on_miss;
    allowed = 0;
    VirtualDriver driver = Drive(
        node, Admitting([&](const View&, const Request& candidate, VariantMask mask, Victims&) {
          allowed = mask;
          preferred = candidate.variant;
          return TestPolicy::Accept(candidate, mask);
        }));
    Arrival arrival;
    arrival.min_accuracy_pct = floor;
    arrival.variants = asked;
    driver.ArriveAt(At(Duration(0)), arrival);
    driver.Run();
    return driver[0].finish;
  };
  choices(OnMiss::kRefuse, -1, 0);
  EXPECT_EQ(allowed, 0b100U);
  choices(OnMiss::kDegrade, -1, 0);
  EXPECT_EQ(allowed, 0b111U);
  EXPECT_EQ(preferred, 2U);
  choices(OnMiss::kDegrade, 60, 0);
  EXPECT_EQ(allowed, 0b110U);
  choices(OnMiss::kRefuse, 60, 0b010);
  EXPECT_EQ(allowed, 0b010U);
  EXPECT_EQ(preferred, 1U);
  EXPECT_EQ(choices(OnMiss::kDegrade, 95, 0).reason, RejectReason::kModelUnavailable);
  EXPECT_EQ(allowed, 0U);
  // The application's floor counts where the request says none.
  node.application(0).min_accuracy_pct = 80;
  choices(OnMiss::kDegrade, -1, 0);
  EXPECT_EQ(allowed, 0b100U);
  choices(OnMiss::kDegrade, 0, 0);
  EXPECT_EQ(allowed, 0b111U);
}

TEST(Engine, ABudgetBoundsTheMeanLossOfConsecutiveAnswers) {
  constexpr std::size_t kAnswers = 50;
  constexpr int kRequests = 1000;
  const auto worst_mean = [](std::optional<AccuracyBudget> budget, const char* policy) {
    NodeBuilder node;
    const GenerationIndex g = node.Model("m", {{1, 20}});
    node[g].variants[0].accuracy_pct = 95;
    node.AddVariant(g, "fair", 93, {{1, 10}});
    node.AddVariant(g, "poor", 90, {{1, 5}});
    node.application(0).on_miss = OnMiss::kDegrade;
    node.application(0).accuracy_budget = budget;
    VirtualDriver driver = Drive(node, MakeDispatchPolicy(policy, {}).value());
    driver.FailIf([](const StartBatch& start) { return start.batch % 17 == 16; });
    RandomStream random(3, "arrivals");
    Duration at{0};
    for (int i = 0; i < kRequests; ++i) {
      at += Millis(random.Exponential(15));
      const std::size_t request = driver.ArriveAt(At(at), Promised(milliseconds(60)));
      if (i % 13 == 0) driver.CancelAt(At(at + milliseconds(5)), request);
    }
    driver.Run();
    EXPECT_THAT(driver.violations(), IsEmpty());
    std::vector<std::pair<TimePoint, double>> answers;
    for (const VirtualDriver::Record& record : driver.records()) {
      if (!IsAnswer(record.finish.outcome)) continue;
      answers.emplace_back(record.ended, std::array{0.0, 2.0, 5.0}.at(record.finish.variant));
    }
    std::ranges::sort(answers);
    EXPECT_GT(answers.size(), 2 * kAnswers);
    double worst = 0;
    for (std::size_t from = 0; from + kAnswers <= answers.size(); ++from) {
      double sum = 0;
      for (std::size_t i = from; i < from + kAnswers; ++i) sum += answers[i].second;
      worst = std::max(worst, sum / kAnswers);
    }
    const EngineStats& stats = driver.engine().stats();
    EXPECT_EQ(stats.applications[0].window_loss_pct.has_value(), budget.has_value());
    EXPECT_LE(stats.applications[0].window_loss_pct.value_or(0),
              budget ? budget->mean_loss_pct : 0);
    return worst;
  };
  EXPECT_GT(worst_mean(std::nullopt, "edf"), 1.5);
  for (const char* policy : {"edf", "fifo"}) {
    EXPECT_EQ(worst_mean(AccuracyBudget{0, kAnswers}, policy), 0);
  }
  // It is used, not only kept.
  const double kept = worst_mean(AccuracyBudget{0.7, kAnswers}, "edf");
  EXPECT_LE(kept, 0.7);
  EXPECT_GT(kept, 0.5);
}

TEST(Engine, AVariantThatNoDeviceHasIsNotOffered) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 1}});
  node[g].variants[0].placements.clear();
  VirtualDriver driver = Drive(node, MakeDispatchPolicy("fifo", {}).value());
  driver.ArriveAt(At(Duration(0)), Of(0));
  driver.Run();
  EXPECT_EQ(driver[0].finish.reason, RejectReason::kModelUnavailable);
}

TEST(Engine, WhatIsAcceptedForFewerVariantsStandsInAQueueOfItsOwn) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}}, 8);
  node.AddVariant(g, "small", -1, {{1, 1}});
  node.application(0).on_miss = OnMiss::kDegrade;
  std::size_t arrivals = 0;
  std::size_t queues = 0;
  auto policy = std::make_unique<TestPolicy>();
  policy->admit = [&](const View&, const Request& candidate, VariantMask allowed, Victims&) {
    Admission admission = TestPolicy::Accept(candidate, allowed);
    if (++arrivals == 3) {
      admission.variants = 0b10;
      admission.variant = 1;
    }
    return admission;
  };
  policy->next = [&](const View& view, DeviceIndex device) {
    queues = 0;
    for (const QueueHead& head : view.heads) queues += head.count > 0;
    return TestPolicy::RunFirst(view, device);
  };
  VirtualDriver driver = Drive(node, std::move(policy));
  for (int i = 0; i < 3; ++i) driver.ArriveAt(At(milliseconds(i)), Of(0));
  driver.Run();
  EXPECT_EQ(driver[1].finish.variant, 0U);
  EXPECT_EQ(driver[2].finish.variant, 1U);
}

// Queues and devices.

TEST(Engine, ManyShapesNeedFewQueues) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 0.001}}, 8);
  node[g].batching = DynamicBatching();
  node[g].batching->max_queue_delay = microseconds(20);
  std::size_t most_queues = 0;
  std::size_t most_waiting = 0;
  auto policy = std::make_unique<TestPolicy>();
  policy->next = [&](const View& view, DeviceIndex device) {
    most_queues = std::max(most_queues, view.heads.size());
    most_waiting = std::max(most_waiting, view.order.size());
    return TestPolicy::RunFirst(view, device);
  };
  VirtualDriver driver = Drive(node, std::move(policy));
  for (std::uint64_t shape = 0; shape < 10000; ++shape) {
    Arrival arrival = Of(g);
    arrival.shape = shape * 0x9E3779B97F4A7C15ULL;
    // In bursts of a hundred, every now and then.
    driver.ArriveAt(At(microseconds(shape / 100 * 150)), arrival);
  }
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  EXPECT_THAT(OutcomesOf(driver), testing::Each(Outcome::kOnTime));
  EXPECT_GE(most_waiting, 64U);
  EXPECT_LE(most_queues, most_waiting + 1);
}

TEST(Engine, DifferentShapesDoNotShareABatch) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}}, 8);
  node[g].batching = DynamicBatching();
  VirtualDriver driver = Drive(node, MakeDispatchPolicy("size-or-timeout", {}).value());
  for (int i = 0; i < 5; ++i) {
    Arrival arrival = Of(g);
    arrival.shape = i % 2 == 0 ? 1 : 2;
    driver.ArriveAt(At(milliseconds(i == 0 ? 0 : 1)), arrival);
  }
  driver.Run();
  ASSERT_EQ(driver.starts().size(), 3U);
  EXPECT_EQ(driver[1].finish.batch_rows, 2U);
  EXPECT_EQ(driver[2].finish.batch_rows, 2U);
  EXPECT_EQ(driver[1].started, driver[3].started);
  EXPECT_NE(driver[1].started, driver[2].started);
}

TEST(Engine, EachDeviceRunsInItsSlots) {
  NodeBuilder node({2, 1});
  const GenerationIndex g = node.Model("m", {{1, 10}});
  node.Place(g, 0, 1, {{1, 10}});
  VirtualDriver driver = Drive(node, MakeDispatchPolicy("fifo", {}).value());
  for (int i = 0; i < 4; ++i) driver.ArriveAt(At(milliseconds(0)), Of(g));
  driver.Run();
  ASSERT_THAT(driver.violations(), IsEmpty());
  std::vector<std::pair<DeviceIndex, std::uint32_t>> places;
  for (const StartBatch& start : driver.starts()) places.emplace_back(start.device, start.slot);
  EXPECT_THAT(places, ElementsAre(testing::Pair(0, 0), testing::Pair(0, 1), testing::Pair(1, 0),
                                  testing::Pair(0, 0)));
  EXPECT_EQ(driver[3].started, At(milliseconds(10)));
}

TEST(Engine, AVariantRunsNoMoreOftenThanItHasInstances) {
  NodeBuilder node({4});
  const GenerationIndex g = node.Model("m", {{1, 10}});
  node[g].variants[0].placements[0].instances = 2;
  for (const char* policy : {"edf", "fifo", "size-or-timeout"}) {
    VirtualDriver driver = Drive(node, MakeDispatchPolicy(policy, {}).value());
    for (int i = 0; i < 5; ++i) driver.ArriveAt(At(milliseconds(0)), Of(g));
    driver.Run();
    EXPECT_THAT(driver.violations(), IsEmpty());
    EXPECT_EQ(driver[4].started, At(milliseconds(20))) << policy;
  }
}

TEST(Engine, AsksADeviceAgainWhenAnotherOneChangedWhatWaits) {
  NodeBuilder node({1, 1});
  const GenerationIndex g = node.Model("m", {{1, 10}});
  node.Place(g, 0, 1, {{1, 10}});
  // The first device takes a request only when another one is not there any more.
  VirtualDriver driver = Drive(node, Choosing([](const View& view, DeviceIndex device) {
                                 if (device == 0 && view.devices[1].free_slots == 1)
                                   return Dispatch();
                                 return TestPolicy::RunFirst(view, device);
                               }));
  // Both wait for the second device, which is busy until both are there.
  driver.ArriveAt(At(milliseconds(0)), Of(g));
  driver.ArriveAt(At(milliseconds(0)), Of(g));
  driver.Run();
  EXPECT_EQ(driver[0].finish.device, 1U);
  EXPECT_EQ(driver[1].finish.device, 0U);
  EXPECT_EQ(driver[1].started, At(milliseconds(0)));
}

// Statistics.

TEST(Engine, CountsWhatHappened) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}, {4, 16}}, 4);
  node.AddVariant(g, "other", 80, {{1, 5}});
  node[g].batching = DynamicBatching();
  const ApplicationIndex app = node.App("app");
  node.application(app).weight = 2;
  VirtualDriver driver = Drive(node, MakeDispatchPolicy("size-or-timeout", {}).value());
  Arrival arrival = Promised(milliseconds(12));
  arrival.application = app;
  arrival.variants = 0b10;
  driver.ArriveAt(At(milliseconds(0)), arrival);                   // 0 to 5: on time
  driver.ArriveAt(At(milliseconds(1)), Patient(milliseconds(2)));  // expires
  for (int i = 0; i < 4; ++i) driver.ArriveAt(At(milliseconds(4)), Promised(milliseconds(15)));
  driver.Run();
  const EngineStats& stats = driver.engine().stats();
  const ModelStats& model = stats.models[g];
  EXPECT_EQ(model.inference_count, 5U);
  EXPECT_EQ(model.execution_count, 2U);
  EXPECT_EQ(model.success.count(), 5U);
  EXPECT_EQ(model.success.total, milliseconds(5 + 4 * 17));
  EXPECT_EQ(model.fail.count, 1U);
  EXPECT_EQ(model.queue.total, milliseconds(4));
  EXPECT_EQ(model.compute_infer.total, milliseconds(5 + 4 * 16));
  EXPECT_EQ(model.batches.at(4).infer.count, 1U);
  EXPECT_EQ(model.last_inference, At(milliseconds(21)));
  EXPECT_THAT(model.variant_requests, ElementsAre(4, 1));
  EXPECT_EQ(model.waiting, 0U);
  EXPECT_EQ(model.running, 0U);
  EXPECT_EQ(model.outcomes[static_cast<std::size_t>(Outcome::kLate)], 4U);
  const ApplicationStats& own = stats.applications[app];
  EXPECT_EQ(own.outcomes[static_cast<std::size_t>(Outcome::kOnTime)], 1U);
  EXPECT_EQ(own.on_time_device_time, milliseconds(5));
  EXPECT_EQ(own.accuracy_count, 1U);
  EXPECT_EQ(own.accuracy_sum_pct, 80);
  const ApplicationStats& others = stats.applications[node[g].default_application];
  EXPECT_EQ(others.device_time, milliseconds(16));
  EXPECT_EQ(others.on_time_device_time, Duration(0));
  EXPECT_EQ(stats.devices[0].busy, milliseconds(21));
  EXPECT_EQ(stats.devices[0].batches, 2U);
  EXPECT_EQ(stats.devices[0].rows, 5U);
  EXPECT_EQ(stats.devices[0].prediction_error_sum, 0);
  // What a policy sees of it.
  EXPECT_EQ(driver.engine().applications()[app].on_time.Value(At(milliseconds(21))),
            milliseconds(5));
  EXPECT_EQ(driver.engine().applications()[app].waiting, 0U);
}

TEST(Engine, CorrectsItsPredictionsFromWhatItSees) {
  NodeBuilder node;
  const GenerationIndex g = node.Model("m", {{1, 10}});
  VirtualDriver driver(node.config(), Simple(),
                       [](const StartBatch&) { return Duration(milliseconds(13)); });
  for (int i = 0; i < 60; ++i) driver.ArriveAt(At(milliseconds(20 * i)), Of(g));
  driver.Run();
  EXPECT_NEAR(ToMillis(driver.starts().back().predicted), 13, 0.01);
  EXPECT_GT(driver.engine().stats().devices[0].prediction_error_sum, 0.5);
}

// Invariants: each catches a policy that breaks it.
//
// Three cannot be broken by a policy, because the engine does not let it: it is not asked for a
// device without a free slot; what has expired has ended before it is asked; and what it starts is
// taken from the front of one queue, so that a batch cannot mix models, shapes or requests twice.

void DriveBroken(NodeBuilder& node, std::unique_ptr<DispatchPolicy> policy, int requests = 3,
                 const Arrival& arrival = Of(0)) {
  VirtualDriver driver = Drive(node, std::move(policy));
  for (int i = 0; i < requests; ++i) driver.ArriveAt(At(milliseconds(i)), arrival);
  driver.Run();
}

NodeBuilder OneModel(std::uint32_t max_rows = 0) {
  NodeBuilder node({2});
  node.Model("m", {{1, 10}}, max_rows);
  return node;
}

Dispatch RunBatch(QueueIndex queue, std::uint32_t count, std::uint32_t variant = 0) {
  Dispatch decision;
  decision.kind = Dispatch::Kind::kRun;
  decision.queue = queue;
  decision.count = count;
  decision.variant = variant;
  return decision;
}

TEST(EngineInvariantDeathTest, MoreRunsThanInstances) {
  NodeBuilder node = OneModel();
  node[0].variants[0].placements[0].instances = 1;
  EXPECT_DEATH(DriveBroken(node, Choosing([](const View&, DeviceIndex) { return RunBatch(0, 1); })),
               "placement->running < placement->instances");
}

TEST(EngineInvariantDeathTest, UnknownAndEmptyQueues) {
  NodeBuilder node = OneModel();
  EXPECT_DEATH(DriveBroken(node, Choosing([](const View&, DeviceIndex) { return RunBatch(5, 1); })),
               "decision.queue < queues_.size");
  const GenerationIndex other = node.Model("n", {{1, 10}});
  EXPECT_DEATH(
      {
        VirtualDriver driver =
            Drive(node, Choosing([](const View& view, DeviceIndex) {
                    // The first queue, even when only another one holds
                    // anything.
                    return view.heads.size() < 2 ? RunBatch(0, 1) : RunBatch(0, 1);
                  }));
        driver.ArriveAt(At(milliseconds(0)), Of(0));
        driver.ArriveAt(At(milliseconds(1)), Of(other));
        driver.Run();
      },
      "heads_\\[decision.queue\\].count > 0");
}

TEST(EngineInvariantDeathTest, NoneOrMoreRequestsThanWait) {
  NodeBuilder node = OneModel(8);
  EXPECT_DEATH(DriveBroken(node, Choosing([](const View&, DeviceIndex) { return RunBatch(0, 0); })),
               "decision.count > 0");
  EXPECT_DEATH(DriveBroken(node, Choosing([](const View&, DeviceIndex) { return RunBatch(0, 2); })),
               "decision.count <= queue.waiting.size");
}

TEST(EngineInvariantDeathTest, MoreRowsThanTheCap) {
  NodeBuilder node = OneModel(2);
  // Waits for three requests, then takes all of them.
  EXPECT_DEATH(DriveBroken(node, Choosing([](const View& view, DeviceIndex) {
                             Dispatch wait;
                             wait.ask_again = view.now + seconds(1);
                             return view.order.size() < 3 ? wait : RunBatch(0, 3);
                           })),
               "batch.rows <= generation.max_rows");
}

TEST(EngineInvariantDeathTest, WrongVariants) {
  NodeBuilder node = OneModel();
  node.AddVariant(0, "other", 50, {{1, 10}});
  node.AddVariant(0, "nowhere", 60, {{1, 10}});
  node[0].variants[2].placements.clear();
  EXPECT_DEATH(
      DriveBroken(node, Choosing([](const View&, DeviceIndex) { return RunBatch(0, 1, 9); })),
      "decision.variant < generation.variants.size");
  EXPECT_DEATH(
      DriveBroken(node, Choosing([](const View&, DeviceIndex) { return RunBatch(0, 1, 1); })),
      "queue.variants >> decision.variant");
  NodeBuilder two({1, 1});
  two.Model("m", {{1, 10}});
  EXPECT_DEATH(DriveBroken(two, Choosing([](const View& view, DeviceIndex device) {
                             return device == 0 && view.devices[0].free_slots == 1 ? Dispatch()
                                                                                   : RunBatch(0, 1);
                           })),
               "placement != nullptr");
}

TEST(EngineInvariantDeathTest, NeverDispatches) {
  NodeBuilder node = OneModel();
  EXPECT_DEATH(DriveBroken(node, Choosing([](const View&, DeviceIndex) { return Dispatch(); })),
               "anything_runs \\|\\| NextTimer\\(\\) != kNever");
}

TEST(EngineInvariantDeathTest, AsksAgainNowOrInThePast) {
  NodeBuilder node = OneModel();
  for (const Duration back : {Duration(0), Duration(1)}) {
    EXPECT_DEATH(DriveBroken(node, Choosing([back](const View& view, DeviceIndex) {
                               Dispatch decision;
                               decision.ask_again = view.now - back;
                               return decision;
                             })),
                 "decision.ask_again > now");
  }
}

TEST(EngineInvariantDeathTest, TurnsAwayWhatHasNoPromise) {
  NodeBuilder node = OneModel();
  for (const Dispatch::Kind kind : {Dispatch::Kind::kReject, Dispatch::Kind::kDemote}) {
    for (const Arrival& arrival : {Of(0), Patient(milliseconds(5))}) {
      EXPECT_DEATH(DriveBroken(node, Choosing([kind](const View&, DeviceIndex) {
                                 Dispatch decision;
                                 decision.kind = kind;
                                 decision.queue = 0;
                                 return decision;
                               }),
                               1, arrival),
                   "first.deadline != kNever");
    }
  }
  EXPECT_DEATH(DriveBroken(node, Admitting([](const View&, const Request&, VariantMask, Victims&) {
                             Admission admission;
                             admission.accept = false;
                             admission.reason = RejectReason::kPredictedLate;
                             return admission;
                           }),
                           1, Patient(milliseconds(5))),
               "request.deadline != kNever");
}

TEST(EngineInvariantDeathTest, DemotesTwice) {
  NodeBuilder node = OneModel();
  EXPECT_DEATH(DriveBroken(node, Choosing([](const View&, DeviceIndex) {
                             Dispatch decision;
                             decision.kind = Dispatch::Kind::kDemote;
                             decision.queue = 0;
                             return decision;
                           }),
                           1, Promised(milliseconds(5))),
               "!first.demoted");
}

TEST(EngineInvariantDeathTest, AcceptsForVariantsThatAreNotAllowed) {
  NodeBuilder node = OneModel();
  node.AddVariant(0, "other", 50, {{1, 10}});
  const auto accepting = [](VariantMask variants, std::uint32_t variant) {
    return Admitting([=](const View&, const Request&, VariantMask, Victims&) {
      Admission admission;
      admission.variants = variants;
      admission.variant = variant;
      return admission;
    });
  };
  EXPECT_DEATH(DriveBroken(node, accepting(0, 0)), "admission.variants != 0");
  EXPECT_DEATH(DriveBroken(node, accepting(0b11, 0)), "admission.variants & ~choice.allowed");
  EXPECT_DEATH(DriveBroken(node, accepting(0b1, 1)), "admission.variants >> admission.variant");
}

TEST(EngineInvariantDeathTest, DropsWhatHasNoPromise) {
  NodeBuilder node = OneModel();
  EXPECT_DEATH(DriveBroken(node, Admitting([](const View& view, const Request& candidate,
                                              VariantMask allowed, Victims&) {
                             Admission admission = TestPolicy::Accept(candidate, allowed);
                             admission.drop_at = view.now + seconds(1);
                             return admission;
                           })),
               "admission.drop_at == kNever");
}

TEST(EngineInvariantDeathTest, MovesThePromiseOfARequest) {
  NodeBuilder node = OneModel();
  EXPECT_DEATH(DriveBroken(node,
                           Admitting([](const View& view, const Request& candidate,
                                        VariantMask allowed, Victims&) {
                             Admission admission = TestPolicy::Accept(candidate, allowed);
                             admission.due = view.now;
                             return admission;
                           }),
                           1, Promised(milliseconds(5))),
               "!admission.due");
}

TEST(EngineInvariantDeathTest, VictimsThatDoNotWait) {
  NodeBuilder node = OneModel();
  // The candidate itself.
  EXPECT_DEATH(DriveBroken(node, Admitting([](const View&, const Request& candidate,
                                              VariantMask allowed, Victims& victims) {
                             victims.Add(candidate);
                             return TestPolicy::Accept(candidate, allowed);
                           })),
               "victim.index != request.index");
  // One that runs, and one twice.
  const Request* first = nullptr;
  EXPECT_DEATH(DriveBroken(node, Admitting([&](const View&, const Request& candidate,
                                               VariantMask allowed, Victims& victims) {
                             if (first == nullptr) first = &candidate;
                             if (first != &candidate) victims.Add(*first);
                             return TestPolicy::Accept(candidate, allowed);
                           })),
               "victim.state == RequestState::kWaiting");
  EXPECT_DEATH(DriveBroken(node,
                           Admitting([](const View& view, const Request& candidate,
                                        VariantMask allowed, Victims& victims) {
                             for (int i = 0; i < 2 && !view.order.empty(); ++i) {
                               victims.Add(*view.order.front());
                             }
                             return TestPolicy::Accept(candidate, allowed);
                           }),
                           4),
               "victim.state == RequestState::kWaiting");
}

TEST(EngineInvariantDeathTest, DriversThatContradictThemselves) {
  NodeBuilder node = OneModel();
  const auto handle = [&](TimePoint now, const Event& event) {
    Engine engine(node.config(), Simple());
    Effects effects;
    engine.Handle(At(milliseconds(1)), Event(), effects);
    engine.Handle(now, event, effects);
  };
  Event event;
  EXPECT_DEATH(handle(At(milliseconds(0)), event), "now >= last_");
  event.kind = Event::Kind::kBatchDone;
  event.done.batch = 99;
  EXPECT_DEATH(handle(At(milliseconds(1)), event), "done.batch < batches_.size");
  event.done.batch = 1;
  EXPECT_DEATH(handle(At(milliseconds(1)), event), "!batch.members.empty");
  event.kind = Event::Kind::kArrival;
  event.arrival.generation = 1;
  EXPECT_DEATH(handle(At(milliseconds(1)), event), "arrival.generation < generations_.size");
  event.arrival.generation = 0;
  event.arrival.application = 1;
  EXPECT_DEATH(handle(At(milliseconds(1)), event), "application_index < applications_.size");
}

TEST(EngineInvariantDeathTest, UnloadingWhatIsInUse) {
  NodeBuilder node = OneModel();
  VirtualDriver driver = Drive(node, Simple());
  driver.ArriveAt(At(milliseconds(0)), Of(0));
  driver.UnloadAt(At(milliseconds(1)), 0);
  EXPECT_DEATH(driver.Run(), "running == 0");
}

TEST(EngineInvariantDeathTest, ConfigurationsThatMakeNoSense) {
  NodeBuilder node = OneModel();
  EngineConfig config = node.config();
  config.devices[0].slots = 0;
  EXPECT_DEATH(Engine(config, Simple()), "device.slots > 0");
  config = node.config();
  config.devices.clear();
  EXPECT_DEATH(Engine(config, Simple()), "config_.devices.empty");
  config = node.config();
  config.generations[0].variants[0].placements[0].device = 1;
  EXPECT_DEATH(Engine(config, Simple()), "CheckGeneration");
  config = node.config();
  config.applications[0].weight = 0;
  EXPECT_DEATH(Engine(config, Simple()), "CheckApplication");
}

// Random scenarios.

// Decides by chance, but makes only moves that are allowed.
class RandomPolicy final : public DispatchPolicy {
 public:
  explicit RandomPolicy(std::uint64_t seed) : random_(seed, "policy") {}

  QueueOrdering ordering() const override { return QueueOrdering::kDue; }
  Duration best_effort_target() const override { return milliseconds(50); }

  Admission Admit(const View& view, const Request& candidate, GenerationIndex, VariantMask allowed,
                  Victims& victims) override {
    Admission admission;
    const bool promised = candidate.deadline != kNever;
    if (Chance(10)) {
      admission.accept = false;
      admission.reason = promised ? RejectReason::kPredictedLate : RejectReason::kQueueFull;
      return admission;
    }
    for (const Request* waiting : view.order) {
      if (Chance(5)) victims.Add(*waiting);
    }
    std::vector<std::uint32_t> variants;
    for (std::uint32_t v = 0; v < kMaxVariants; ++v) {
      if ((allowed >> v & 1U) == 0 || (!variants.empty() && Chance(50))) continue;
      variants.push_back(v);
      admission.variants |= VariantMask{1} << v;
    }
    admission.variant = variants[random_.Below(variants.size())];
    admission.demoted = promised && Chance(20);
    if (promised && Chance(30))
      admission.drop_at = view.now + Duration(1 + random_.Below(40'000'000));
    if (!promised && Chance(50)) admission.due = view.now + Duration(random_.Below(100'000'000));
    admission.work = Duration(random_.Below(10'000'000));
    return admission;
  }

  Dispatch Next(const View& view, DeviceIndex device) override {
    Dispatch decision;
    decision.ask_again = view.now + Duration(1 + random_.Below(5'000'000));
    if (Chance(20)) return decision;
    std::vector<QueueIndex> queues;
    for (QueueIndex q = 0; q < view.heads.size(); ++q) {
      if (view.heads[q].count > 0) queues.push_back(q);
    }
    decision.queue = queues[random_.Below(queues.size())];
    const Queue& queue = view.queues[decision.queue];
    const Request& head = queue.waiting.front();
    if (head.deadline != kNever && !head.demoted && Chance(15)) {
      decision.kind = Chance(50) ? Dispatch::Kind::kReject : Dispatch::Kind::kDemote;
      return decision;
    }
    const Generation& generation = view.generations[queue.generation];
    for (std::uint32_t v = 0; v < generation.variants.size(); ++v) {
      const Placement* placement = generation.variants[v].On(device);
      if ((queue.variants >> v & 1U) == 0 || placement == nullptr ||
          placement->running == placement->instances) {
        continue;
      }
      decision.kind = Dispatch::Kind::kRun;
      decision.variant = v;
      if (Chance(50)) break;
    }
    std::uint32_t rows = 0;
    for (const Request* request : queue.waiting) {
      rows += request->rows;
      if (decision.count > 0 && (rows > generation.max_rows || Chance(20))) break;
      ++decision.count;
    }
    return decision;
  }

 private:
  bool Chance(std::uint64_t percent) { return random_.Below(100) < percent; }
  RandomStream random_;
};

// Two or three devices, models of all kinds, applications of all kinds.
NodeBuilder RandomNode(std::uint64_t seed) {
  RandomStream random(seed, "node");
  const auto below = [&](std::uint64_t bound) {
    return static_cast<std::uint32_t>(random.Below(bound));
  };
  std::vector<std::uint32_t> slots(1 + below(3));
  for (std::uint32_t& s : slots) s = 1 + below(3);
  NodeBuilder node(slots);
  node.config().max_waiting = 4 + below(60);
  const std::uint32_t models = 1 + below(4);
  RandomStream levels(seed, "levels");
  for (std::uint32_t m = 0; m < models; ++m) {
    const double ms = 0.2 + random.Uniform() * 8;
    const double part = random.Uniform();
    const Millipoints points{{1, ms}, {8, ms * (1 + 7 * part)}};
    const GenerationIndex g = node.Model("m" + std::to_string(m), points, below(3) == 0 ? 0 : 8);
    if (below(2) == 0) node.AddVariant(g, "small", -1, {{1, ms / 3}});
    for (std::uint32_t v = 0; v < node[g].variants.size(); ++v) {
      for (DeviceIndex d = 1; d < slots.size(); ++d) {
        if (below(2) == 0) node.Place(g, v, d, points);
      }
      for (Placement& placement : node[g].variants[v].placements) {
        placement.instances = 1 + below(3);
      }
    }
    if (below(2) == 0) {
      node[g].batching = DynamicBatching();
      node[g].batching->max_queue_delay = Millis(random.Uniform() * 3);
      node[g].batching->queue.max_requests = below(20);
    }
    if (node[g].batching && levels.Below(2) == 0) {
      for (std::uint64_t level = 1 + levels.Below(3); level > 0; --level) {
        QueuePolicy& policy = node[g].batching->levels.emplace_back(node[g].batching->queue);
        policy.default_timeout = Millis(static_cast<double>(levels.Below(20)));
        policy.allow_timeout_override = levels.Below(2) == 0;
        policy.on_timeout = levels.Below(2) == 0 ? OnTimeout::kDelay : OnTimeout::kReject;
      }
      node[g].batching->default_level = 1;
    }
    Application& application = node.application(node[g].default_application);
    application.on_miss =
        std::array{OnMiss::kRefuse, OnMiss::kServeLate, OnMiss::kDegrade}.at(below(3));
    application.weight = 0.5 + random.Uniform();
    if (below(2) == 0) application.slo = Millis(5 + random.Uniform() * 60);
  }
  return node;
}

std::unique_ptr<VirtualDriver> RunRandomly(std::uint64_t seed, const std::string& policy) {
  NodeBuilder node = RandomNode(seed);
  const EngineConfig config = node.config();
  auto noise = std::make_shared<RandomStream>(seed, "service");
  auto made = std::make_unique<VirtualDriver>(
      config,
      policy == "random" ? std::make_unique<RandomPolicy>(seed)
                         : MakeDispatchPolicy(policy, policy == "edf" && seed % 2 == 0
                                                          ? PolicyOptions{{"max_fill_wait", "2ms"}}
                                                          : PolicyOptions())
                               .value(),
      [config, noise](const StartBatch& start) {
        const auto mean = static_cast<double>(AsMeasured(config, start).count());
        return Duration(static_cast<std::int64_t>(noise->Lognormal(mean, 0.3)));
      });
  VirtualDriver& driver = *made;
  auto failures = std::make_shared<RandomStream>(seed, "failures");
  driver.FailIf([failures](const StartBatch&) { return failures->Below(20) == 0; });
  RandomStream random(seed, "events");
  RandomStream priorities(seed, "priorities");
  TimePoint now{};
  for (int i = 0; i < 300; ++i) {
    now += Duration(static_cast<std::int64_t>(random.Exponential(1.5e6)));
    Arrival arrival;
    arrival.generation = static_cast<GenerationIndex>(random.Below(config.generations.size()));
    arrival.shape = random.Below(3);
    arrival.priority = static_cast<std::uint32_t>(priorities.Below(5));
    if (config.generations[arrival.generation].max_rows > 0) {
      arrival.rows = 1 + static_cast<std::uint32_t>(random.Below(3));
    }
    switch (random.Below(4)) {
      case 0:
        arrival.slo = Duration(static_cast<std::int64_t>(random.Below(40'000'000)));
        break;
      case 1:
        arrival.timeout = Duration(static_cast<std::int64_t>(random.Below(20'000'000)));
        break;
      default:
        break;
    }
    const std::size_t request = driver.ArriveAt(now, arrival);
    if (random.Below(10) == 0) {
      const auto later = static_cast<std::int64_t>(random.Below(15'000'000));
      driver.CancelAt(now + Duration(later), request);
    }
  }
  if (seed % 5 == 0) driver.DrainAt(now - milliseconds(30));
  driver.Run();
  return made;
}

class EngineScenarios : public testing::TestWithParam<std::string> {};

TEST_P(EngineScenarios, LoseNothingAndComeOutTheSameAgain) {
  std::array<std::size_t, kOutcomeCount> outcomes{};
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto made = RunRandomly(seed, GetParam());
    const VirtualDriver& driver = *made;
    ASSERT_THAT(driver.violations(), IsEmpty()) << "seed " << seed;
    ASSERT_EQ(driver.fingerprint(), RunRandomly(seed, GetParam())->fingerprint())
        << "seed " << seed;
    for (const VirtualDriver::Record& record : driver.records()) {
      ++outcomes.at(static_cast<std::size_t>(record.finish.outcome));
    }
    std::uint64_t counted = 0;
    for (const ModelStats& model : driver.engine().stats().models) {
      EXPECT_EQ(model.waiting + model.running, 0U);
      for (const std::uint64_t count : model.outcomes) counted += count;
    }
    EXPECT_EQ(counted, driver.records().size());
  }
  // The scenarios reach every end that there is.
  EXPECT_THAT(outcomes, testing::Each(testing::Gt(100U)));
}

INSTANTIATE_TEST_SUITE_P(Policies, EngineScenarios,
                         testing::Values("random", "edf", "fifo", "size-or-timeout"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace duly
