// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_summary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "telemetry/log_hash.h"
#include "telemetry/log_requests.h"
#include "telemetry/log_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;

// Two requests of 'cameras' in one batch of 4 rows that takes 10 ms, one of which was cancelled;
// one of 'guests' that is rejected; one of 'speech' that runs when the log ends.
std::vector<LogRecord> SmallRun() {
  Collector run;
  const TimePoint start = TestHeader().start;
  const auto arrive = [&](int ms, GenerationIndex generation, ApplicationIndex application,
                          std::uint32_t rows, Effects effects) {
    Event event;
    event.kind = Event::Kind::kArrival;
    event.arrival.generation = generation;
    event.arrival.application = application;
    event.arrival.rows = rows;
    const auto number = static_cast<std::uint32_t>(run.records.size() + 1);
    effects.arrived = {number, number};
    run.OnEvent(start + milliseconds(ms), event, effects);
  };
  const auto start_batch = [](std::uint32_t batch, DeviceIndex device, GenerationIndex generation,
                              std::uint32_t rows, std::vector<RequestId> members) {
    Effects effects;
    StartBatch s;
    s.batch = batch;
    s.device = device;
    s.generation = generation;
    s.rows = rows;
    s.member_count = static_cast<std::uint32_t>(members.size());
    effects.starts = {s};
    effects.members = std::move(members);
    return effects;
  };
  arrive(0, 0, kNoIndex, 3, {});                                          // request 1
  arrive(10, 0, kNoIndex, 1, start_batch(0, 1, 0, 4, {{1, 1}, {2, 2}}));  // request 2
  Effects refused;
  refused.finishes.resize(1);
  refused.finishes[0].request = {3, 3};
  refused.finishes[0].outcome = Outcome::kRejected;
  refused.finishes[0].application = 3;
  arrive(12, 0, 3, 1, refused);                                   // request 3
  arrive(15, 1, kNoIndex, 1, start_batch(1, 0, 1, 1, {{4, 4}}));  // request 4
  Event done;
  done.kind = Event::Kind::kBatchDone;
  done.done.batch = 0;
  Effects ends;
  ends.finishes.resize(2);
  for (std::uint32_t i = 0; i < 2; ++i) {
    Finish& finish = ends.finishes[i];
    finish.request = {i + 1, i + 1};
    finish.outcome = i == 0 ? Outcome::kOnTime : Outcome::kCancelled;
    finish.device = 1;
    finish.batch = 0;
    finish.variant = 1;
    finish.batch_rows = 4;
    finish.service = milliseconds(10);
  }
  run.OnEvent(start + milliseconds(20), done, ends);
  return run.records;
}

LogSummary SummaryOf(const std::vector<LogRecord>& records) {
  Result<EventLogReader> reader = ReadLog(EncodeLog(TestHeader(), records));
  return Summarize(reader.value()).value();
}

TEST(LogSummary, CountsWhatBecameOfTheRequests) {
  const LogSummary summary = SummaryOf(SmallRun());
  EXPECT_EQ(summary.duration, milliseconds(20));
  EXPECT_EQ(summary.events, 5U);
  ASSERT_EQ(summary.applications.size(), 3U) << "'tagger' sent nothing";
  const ApplicationSummary& cameras = summary.applications[0];
  EXPECT_EQ(cameras.name, "cameras");
  EXPECT_EQ(cameras.model, "detector");
  EXPECT_EQ(cameras.offered, 2U);
  EXPECT_EQ(cameras.outcomes, (std::array<std::uint64_t, kOutcomeCount>{1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(cameras.response.count(), 1U);
  EXPECT_EQ(cameras.response.Percentile(0.5), milliseconds(20));
  EXPECT_EQ(cameras.on_time_device_time, Duration(7'500'000)) << "3 of 4 rows";
  EXPECT_EQ(cameras.accuracy_count, 1U);
  EXPECT_EQ(cameras.accuracy_sum_pct, 92.7);
  const ApplicationSummary& speech = summary.applications[1];
  EXPECT_EQ(speech.name, "speech");
  EXPECT_EQ(speech.unanswered, 1U);
  const ApplicationSummary& guests = summary.applications[2];
  EXPECT_EQ(guests.outcomes, (std::array<std::uint64_t, kOutcomeCount>{0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(summary.total.offered, 4U);
  EXPECT_EQ(summary.total.model, "several");
  EXPECT_EQ(summary.total.outcomes, (std::array<std::uint64_t, kOutcomeCount>{1, 0, 1, 0, 1, 0}));
  ASSERT_EQ(summary.devices.size(), 2U);
  EXPECT_EQ(summary.devices[0].busy, milliseconds(5)) << "up to the end of the log";
  EXPECT_EQ(summary.devices[1].busy, milliseconds(10));
  EXPECT_EQ(summary.devices[1].batches, 1U);
  EXPECT_EQ(summary.devices[1].rows, 4U);
}

TEST(LogSummary, AgreesWithTheEngineOnARun) {
  const EventLogHeader header = TestHeader();
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 2000, .load = 4});
  Engine engine(header.config, RegistryFactory()(header.policy, header.policy_options).value());
  Effects effects;
  for (const LogRecord& record : records) {
    effects.Clear();
    engine.Handle(record.time, record.event, effects);
  }
  const LogSummary summary = SummaryOf(records);
  // One came with a model that was loaded during the run.
  ASSERT_EQ(summary.applications.size(), header.config.applications.size() + 1);
  for (std::size_t a = 0; a < summary.applications.size(); ++a) {
    const ApplicationStats& stats = engine.stats().applications[a];
    EXPECT_EQ(summary.applications[a].outcomes, stats.outcomes);
    EXPECT_EQ(summary.applications[a].unanswered, 0U);
    EXPECT_EQ(summary.applications[a].accuracy_count, stats.accuracy_count);
    EXPECT_NEAR(ToSeconds(summary.applications[a].on_time_device_time),
                ToSeconds(stats.on_time_device_time), 1e-5);
  }
  for (std::size_t d = 0; d < summary.devices.size(); ++d) {
    EXPECT_EQ(summary.devices[d].busy, engine.stats().devices[d].busy);
    EXPECT_EQ(summary.devices[d].batches, engine.stats().devices[d].batches);
    EXPECT_EQ(summary.devices[d].rows, engine.stats().devices[d].rows);
  }
}

TEST(LogSummary, SaysWhatAGapHides) {
  std::vector<LogRecord> records = SmallRun();
  records[0].kind = LogRecord::Kind::kGap;  // the arrival of request 1
  records[0].lost = 1;
  const LogSummary summary = SummaryOf(records);
  EXPECT_EQ(summary.lost, 1U);
  EXPECT_EQ(summary.without_arrival, 1U);
  EXPECT_EQ(summary.total.offered, 3U);
}

TEST(Latencies, GiveNearestRanks) {
  Latencies latencies;
  EXPECT_EQ(latencies.Percentile(0.5), Duration(0));
  for (int i = 100; i >= 1; --i) latencies.Add(Duration(i));
  latencies.Sort();
  EXPECT_EQ(latencies.Percentile(0.5), Duration(50));
  EXPECT_EQ(latencies.Percentile(0.99), Duration(99));
  EXPECT_EQ(latencies.Percentile(0.991), Duration(100));
  EXPECT_EQ(latencies.Percentile(1), Duration(100));
  EXPECT_EQ(latencies.Percentile(1e-9), Duration(1));
  EXPECT_EQ(latencies.Mean(), Duration(51)) << "50.5, rounded";
}

TEST(LoggedRequests, JoinsArrivalsAndEnds) {
  const EventLogHeader header = TestHeader();
  LoggedRequests requests(header.config);
  std::vector<LoggedRequest> seen;
  const auto visit = [&](const LoggedRequest& request) { seen.push_back(request); };
  for (const LogRecord& record : SmallRun()) requests.Add(record, visit);
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].id.sequence, 3U);
  EXPECT_EQ(seen[1].id.sequence, 1U);
  EXPECT_EQ(seen[1].ended - seen[1].arrived, milliseconds(20));
  EXPECT_EQ(seen[1].arrival.rows, 3U);
  EXPECT_EQ(seen[1].application, 0U);
  requests.VisitUnfinished(visit);
  ASSERT_EQ(seen.size(), 4U);
  EXPECT_EQ(seen[3].id.sequence, 4U);
  EXPECT_FALSE(seen[3].finish.has_value());
}

LogHash HashOf(const EventLogHeader& header, const std::vector<LogRecord>& records,
               std::size_t block_bytes = 4096) {
  Result<EventLogReader> reader = ReadLog(EncodeLog(header, records, block_bytes));
  return HashLog(reader.value()).value();
}

TEST(LogHash, DependsOnInputsAndDecisionsAndNothingElse) {
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 200});
  const LogHash hash = HashOf(TestHeader(), records);
  EXPECT_EQ(HashOf(TestHeader(), records, 100).all, hash.all) << "blocks do not matter";
  EventLogHeader elsewhere = TestHeader();
  elsewhere.host = "other";
  elsewhere.started = "2027-01-01T00:00:00Z";
  elsewhere.build = "9";
  EXPECT_EQ(HashOf(elsewhere, records).all, hash.all);

  EventLogHeader reconfigured = TestHeader();
  reconfigured.config.max_waiting += 1;
  const LogHash other = HashOf(reconfigured, records);
  EXPECT_NE(other.config, hash.config);
  EXPECT_EQ(other.inputs, hash.inputs);
  EXPECT_EQ(other.decisions, hash.decisions);
  EXPECT_NE(other.all, hash.all);

  std::vector<LogRecord> changed = records;
  changed.back().time += Duration(1);
  const LogHash later = HashOf(TestHeader(), changed);
  EXPECT_EQ(later.config, hash.config);
  EXPECT_NE(later.inputs, hash.inputs);
  EXPECT_EQ(later.decisions, hash.decisions);

  changed = records;
  const auto decided = std::ranges::find_if(
      changed, [](const LogRecord& record) { return !record.effects.starts.empty(); });
  decided->effects.starts[0].slot += 1;
  const LogHash decision = HashOf(TestHeader(), changed);
  EXPECT_EQ(decision.inputs, hash.inputs);
  EXPECT_NE(decision.decisions, hash.decisions);
}

TEST(LogHash, IsTheSameOnEveryMachine) {
  // Of these records for ever: neither compilers nor processors nor versions may change them.
  const LogHash hash = HashOf(TestHeader(), SmallRun());
  EXPECT_EQ(hash.inputs, 5213016741791220340U);
  EXPECT_EQ(hash.decisions, 4725101418868490546U);
}

}  // namespace
}  // namespace duly
