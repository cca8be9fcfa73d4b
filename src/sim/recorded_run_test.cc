// SPDX-License-Identifier: Apache-2.0
#include "sim/recorded_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "engine/engine_test_util.h"
#include "policy/registry.h"
#include "sim/run.h"
#include "telemetry/log_test_util.h"

namespace duly::sim {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Recorded {
  EventLogHeader header;
  std::vector<LogRecord> records;
};

Recorded Record(const std::string& noise, double rate_per_s) {
  Faults faults;
  const Scenario scenario = ParseScenario(fmt::format(R"(
duration: 60s
warmup: 0s
policy: {{name: edf}}
models:
  - {{name: a, max_batch_size: 4, variants: [{{name: big, accuracy: 80}}, {{name: small, accuracy: 70}}]}}
  - {{name: b}}
nodes:
  - name: n
    devices: [{{name: d, kind: serial, noise: {}}}]
    service_factor: 1.3
    profile:
      variants:
        - {{model: a, variant: big, device: d, points: [{{rows: 1, mean: 9ms}}, {{rows: 4, mean: 24ms}}]}}
        - {{model: a, variant: small, device: d, points: [{{rows: 1, mean: 4ms}}]}}
        - {{model: b, variant: default, device: d, points: [{{rows: 1, mean: 5ms}}]}}
applications:
  - {{name: x, model: a, rate: {}/s, slo: 60ms, on_miss: degrade, min_accuracy: 70}}
  - {{name: y, model: b, rate: 30/s, timeout: 80ms, cancel: {{share: 0.1, after: 5ms}}}}
)",
                                                      noise, rate_per_s),
                                          "s.yaml", faults);
  EXPECT_TRUE(faults.empty()) << faults.ToStatus().message();
  const auto run = ScenarioRun::Create(scenario, MakeDispatchPolicy, faults);
  Collector collector;
  Recorded recorded;
  recorded.header.config = run->config(0);
  recorded.header.policy = "edf";
  run->Observe(0, collector);
  run->Advance(Duration::max());
  recorded.records = std::move(collector.records);
  return recorded;
}

Result<RecordedRun> ReadBack(const Recorded& recorded) {
  Result<EventLogReader> reader = ReadLog(EncodeLog(recorded.header, recorded.records));
  return ReadRecordedRun(reader.value());
}

std::vector<LogRecord> Simulated(const RecordedRun& run, const std::string& policy) {
  Collector collector;
  Simulate(run, MakeDispatchPolicy(policy, {}).value(), collector);
  return std::move(collector.records);
}

// Ends by outcome, and the mean response in ms of those answered.
struct Ends {
  std::array<double, kOutcomeCount> counts{};
  double response_ms = 0;
};
Ends EndsOf(const std::vector<LogRecord>& records) {
  Ends ends;
  double answered = 0;
  for (const LogRecord& record : records) {
    for (const Finish& finish : record.effects.finishes) {
      ++ends.counts.at(static_cast<std::size_t>(finish.outcome));
      if (!IsAnswer(finish.outcome)) continue;
      ++answered;
      ends.response_ms += ToMillis(finish.waiting + finish.service);
    }
  }
  ends.response_ms /= answered;
  return ends;
}

TEST(RecordedRun, WithoutNoiseItsOwnPolicyGivesTheRunAgain) {
  const Recorded recorded = Record("none", 80);
  const Result<RecordedRun> run = ReadBack(recorded);
  ASSERT_TRUE(run) << run.error().message();
  const std::vector<LogRecord> again = Simulated(*run, "edf");
  ASSERT_EQ(again.size(), recorded.records.size());
  for (std::size_t i = 0; i < again.size(); ++i) {
    // Means are of whole nanoseconds.
    EXPECT_NEAR(static_cast<double>(ToNanos(again[i].time)),
                static_cast<double>(ToNanos(recorded.records[i].time)), 1e4);
    ASSERT_EQ(again[i].effects.finishes.size(), recorded.records[i].effects.finishes.size()) << i;
  }
  EXPECT_EQ(EndsOf(again).counts, EndsOf(recorded.records).counts);
}

TEST(RecordedRun, WithNoiseItsOwnPolicyComesNear) {
  const Recorded recorded = Record("{cv: 0.3}", 60);
  const Result<RecordedRun> run = ReadBack(recorded);
  ASSERT_TRUE(run);
  const Ends was = EndsOf(recorded.records);
  const Ends again = EndsOf(Simulated(*run, "edf"));
  double requests = 0;
  for (std::size_t o = 0; o < kOutcomeCount; ++o) requests += was.counts[o];
  for (std::size_t o = 0; o < kOutcomeCount; ++o) {
    EXPECT_NEAR(again.counts[o], was.counts[o], 0.01 * requests) << o;
  }
  EXPECT_NEAR(again.response_ms, was.response_ms, 0.05 * was.response_ms);
}

TEST(RecordedRun, AnotherPolicyMeetsTheSameRequests) {
  const Recorded recorded = Record("{cv: 0.3}", 130);
  const Result<RecordedRun> run = ReadBack(recorded);
  ASSERT_TRUE(run);
  const std::vector<LogRecord> other = Simulated(*run, "fifo");
  std::vector<std::pair<TimePoint, Arrival>> were;
  std::vector<std::pair<TimePoint, Arrival>> are;
  const auto arrivals = [](const std::vector<LogRecord>& records) {
    std::vector<std::pair<TimePoint, Arrival>> found;
    for (const LogRecord& record : records) {
      if (record.event.kind != Event::Kind::kArrival) continue;
      found.emplace_back(record.time, record.event.arrival);
    }
    return found;
  };
  EXPECT_EQ(arrivals(other), arrivals(recorded.records));
  const auto on_time = static_cast<std::size_t>(Outcome::kOnTime);
  EXPECT_LT(EndsOf(other).counts[on_time], 0.9 * EndsOf(recorded.records).counts[on_time])
      << "what edf is for";
}

TEST(RecordedRun, ClientsGoAwayAsTheyDid) {
  const Result<RecordedRun> run = ReadBack(Record("none", 80));
  ASSERT_TRUE(run);
  std::size_t gone = 0;
  for (const SentRequest& request : run->requests) {
    if (request.cancel_after < Duration(0)) continue;
    ++gone;
    EXPECT_EQ(request.cancel_after, milliseconds(5));
  }
  EXPECT_GT(gone, 50U);
}

TEST(RecordedRun, NeedsAWholeRecordOfWhatCame) {
  Recorded recorded = Record("none", 20);
  LogRecord gap;
  gap.kind = LogRecord::Kind::kGap;
  gap.number = 11;
  gap.lost = 3;
  recorded.records.resize(10);
  recorded.records.push_back(gap);
  const Result<RecordedRun> run = ReadBack(recorded);
  ASSERT_FALSE(run);
  EXPECT_THAT(run.error().message(), HasSubstr("3 events are missing"));
}

// An index is used again as soon as nothing of what had it is left, which differs by policy.
TEST(RecordedRun, AGenerationThatIsReplacedKeepsItsRequestsAndItsTimes) {
  NodeBuilder node;
  const GenerationIndex slow = node.Model("slow", {{1, 10}});
  GenerationLoad load{slow, node[slow], {}};
  load.generation.model = "quick";
  load.generation.variants[0].placements[0].service = Measured({{1, 1}});
  Collector collector;
  Recorded recorded;
  recorded.header.config = node.config();
  Engine engine(node.config(), MakeDispatchPolicy("fifo", {}).value());
  Effects effects;
  const auto happen = [&](Duration at, const Event& event) {
    effects.Clear();
    engine.Handle(At(at), event, effects);
    collector.OnEvent(At(at), event, effects);
  };
  Event arrival;
  arrival.kind = Event::Kind::kArrival;
  arrival.arrival = Of(slow);
  Event done;
  done.kind = Event::Kind::kBatchDone;
  done.done.batch = 0;
  Event gone;
  gone.kind = Event::Kind::kUnload;
  gone.generation = slow;
  Event loaded;
  loaded.kind = Event::Kind::kLoad;
  loaded.load = &load;
  happen(milliseconds(0), arrival);
  happen(milliseconds(10), done);
  happen(milliseconds(10), gone);
  happen(milliseconds(11), loaded);
  happen(milliseconds(12), arrival);
  happen(milliseconds(14), done);
  recorded.records = std::move(collector.records);
  const Result<RecordedRun> run = ReadBack(recorded);
  ASSERT_TRUE(run) << run.error().message();
  ASSERT_EQ(run->config.generations.size(), 2U);
  EXPECT_EQ(run->config.generations[1].model, "quick");
  const std::vector<LogRecord> again = Simulated(*run, "fifo");
  std::vector<Duration> services;
  for (const LogRecord& record : again) {
    for (const Finish& finish : record.effects.finishes) services.push_back(finish.service);
  }
  EXPECT_THAT(services, ElementsAre(milliseconds(10), milliseconds(2)));
}

// Whatever a policy is asked, nothing of a log reaches what the engine demands of its driver.
TEST(RecordedRun, EveryKindOfLogCanBeSimulated) {
  Recorded recorded;
  recorded.header = TestHeader();
  recorded.records = ScriptedRecords({.seed = 3, .requests = 3000, .load = 2});
  const Result<RecordedRun> run = ReadBack(recorded);
  ASSERT_TRUE(run) << run.error().message();
  EXPECT_GT(run->requests.size(), 1000U);
  for (const std::string policy : {"fifo", "edf", "size-or-timeout"}) {
    std::size_t ended = 0;
    for (const LogRecord& record : Simulated(*run, policy)) {
      ended += record.effects.finishes.size();
    }
    EXPECT_EQ(ended, run->requests.size()) << policy;
  }
}

}  // namespace
}  // namespace duly::sim
