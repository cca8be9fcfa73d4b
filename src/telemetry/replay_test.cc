// SPDX-License-Identifier: Apache-2.0
#include "telemetry/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <initializer_list>

#include "telemetry/log_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

ReplayReport ReplayOf(const std::vector<LogRecord>& records, EventLogHeader header = TestHeader()) {
  Result<EventLogReader> reader = ReadLog(EncodeLog(header, records));
  Result<ReplayReport> report = Replay(reader.value(), RegistryFactory());
  EXPECT_TRUE(report.has_value()) << report.error().message();
  return report.value();
}

TEST(Replay, GivesEveryDecisionOfTenThousandRequestsAgain) {
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 10'000, .load = 5});
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
  std::array<std::uint64_t, 6> reasons{};
  std::uint64_t decisions = 0;
  for (const LogRecord& record : records) {
    decisions += record.effects.finishes.size() + record.effects.starts.size();
    for (const Finish& finish : record.effects.finishes) {
      ++outcomes.at(static_cast<std::size_t>(finish.outcome));
      ++reasons.at(static_cast<std::size_t>(finish.reason));
    }
  }
  // The run has something of everything in it.
  for (const std::uint64_t count : outcomes) EXPECT_GT(count, 10U);
  EXPECT_GT(reasons.at(static_cast<std::size_t>(RejectReason::kPredictedLate)), 20U);
  EXPECT_EQ(reasons.at(static_cast<std::size_t>(RejectReason::kShuttingDown)), 3U);

  const ReplayReport report = ReplayOf(records);
  EXPECT_TRUE(report.exact());
  EXPECT_EQ(report.events, records.size());
  EXPECT_EQ(report.decisions, decisions);
}

TEST(Replay, GivesEveryDecisionAgainUnderEveryPolicy) {
  for (const auto& [policy, options] :
       std::initializer_list<std::pair<std::string, std::map<std::string, std::string>>>{
           {"edf", {{"max_fill_wait", "2ms"}, {"reserve", "0"}}},
           {"fifo", {}},
           {"size-or-timeout", {{"max_queue_delay", "3ms"}}}}) {
    EventLogHeader header = TestHeader();
    header.policy = policy;
    header.policy_options = options;
    for (const double load : {0.3, 3.0}) {
      Collector collector;
      RunScript(header, {.seed = 7, .requests = 1000, .load = load}, collector);
      EXPECT_TRUE(ReplayOf(collector.records, header).exact()) << policy << " at " << load;
    }
  }
}

// Where an event of this kind is, past the middle of the run.
std::size_t Find(const std::vector<LogRecord>& records,
                 const std::function<bool(const LogRecord&)>& fits) {
  const auto from = records.begin() + static_cast<std::ptrdiff_t>(records.size() / 2);
  const auto found = std::find_if(from, records.end(), fits);
  EXPECT_NE(found, records.end());
  return static_cast<std::size_t>(found - records.begin());
}

bool IsAcceptedArrival(const LogRecord& record) {
  return record.event.kind == Event::Kind::kArrival && record.effects.finishes.empty();
}

TEST(Replay, NamesTheEventWhoseInputWasChanged) {
  struct Case {
    const char* name;
    bool (*fits)(const LogRecord&);
    void (*change)(LogRecord&);
  };
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 500});
  for (const Case& c : std::initializer_list<Case>{
           {"an arrival that was drained",
            [](const LogRecord& r) { return IsAcceptedArrival(r) && !r.effects.starts.empty(); },
            [](LogRecord& r) { r.event.kind = Event::Kind::kDrain; }},
           {"a promise that cannot be kept", IsAcceptedArrival,
            [](LogRecord& r) { r.event.arrival.slo = Duration(1); }},
           {"a floor that no variant meets", IsAcceptedArrival,
            [](LogRecord& r) { r.event.arrival.min_accuracy_pct = 99; }},
           {"a cancellation of another request",
            [](const LogRecord& r) {
              return r.event.kind == Event::Kind::kCancel && !r.effects.finishes.empty();
            },
            [](LogRecord& r) { ++r.event.request.sequence; }},
           {"a batch that failed",
            [](const LogRecord& r) {
              return r.event.kind == Event::Kind::kBatchDone && !r.event.done.failed;
            },
            [](LogRecord& r) { r.event.done.failed = true; }},
           {"an end of a batch that does not run",
            [](const LogRecord& r) { return r.event.kind == Event::Kind::kBatchDone; },
            [](LogRecord& r) { r.event.done.batch += 1000; }},
           {"a time", [](const LogRecord& r) { return !r.effects.finishes.empty(); },
            [](LogRecord& r) { r.time += Duration(1); }}}) {
    const std::size_t at = Find(records, c.fits);
    std::vector<LogRecord> changed = records;
    c.change(changed[at]);
    const ReplayReport report = ReplayOf(changed);
    ASSERT_TRUE(report.difference.has_value()) << c.name;
    EXPECT_FALSE(report.exact());
    EXPECT_EQ(report.difference->number, at + 1) << c.name;
    EXPECT_EQ(report.difference->since_start, changed[at].time - TestHeader().start);
    EXPECT_THAT(report.difference->place, HasSubstr("record " + std::to_string(at + 1)));
    EXPECT_NE(report.difference->recorded, report.difference->replayed) << c.name;
    EXPECT_EQ(report.events, at + 1);
  }
}

TEST(Replay, NamesAnUnloadOfWhatIsInUse) {
  std::vector<LogRecord> records = ScriptedRecords({.requests = 500});
  const std::size_t at = Find(records, [](const LogRecord& r) {
    return !r.effects.starts.empty() && r.effects.starts[0].generation == 0;
  });
  LogRecord unload;
  unload.time = records[at].time;
  unload.event.kind = Event::Kind::kUnload;
  unload.event.generation = 0;
  records.erase(records.begin() + static_cast<std::ptrdiff_t>(at) + 1, records.end());
  records.push_back(unload);
  const ReplayReport report = ReplayOf(records);
  ASSERT_TRUE(report.difference.has_value());
  EXPECT_EQ(report.difference->number, at + 2);
  EXPECT_EQ(report.difference->event, "'detector' version 1 is unloaded, model 0");
  EXPECT_EQ(report.difference->recorded, "nothing of this model waits or runs");
}

TEST(Replay, FindsAChangedInputThatShowsOnlyLater) {
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 500});
  struct Case {
    const char* name;
    void (*change)(LogRecord&);
  };
  for (const Case& c : std::initializer_list<Case>{
           {"rows", [](LogRecord& r) { r.event.arrival.rows += 1; }},
           {"application", [](LogRecord& r) { r.event.arrival.application = 1; }},
           {"model", [](LogRecord& r) { r.event.arrival.generation = 1; }},
           {"patience", [](LogRecord& r) { r.event.arrival.timeout = Duration(1); }}}) {
    const std::size_t at = Find(records, [](const LogRecord& r) {
      return IsAcceptedArrival(r) && r.event.arrival.generation == 0 &&
             r.event.arrival.timeout < Duration(0) && r.effects.starts.empty();
    });
    std::vector<LogRecord> changed = records;
    c.change(changed[at]);
    const ReplayReport report = ReplayOf(changed);
    ASSERT_TRUE(report.difference.has_value()) << c.name;
    EXPECT_GE(report.difference->number, at + 1) << c.name;
  }
}

TEST(Replay, NamesTheEventWithAnotherDecision) {
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 500});
  // What starts is of a model with several variants.
  const std::size_t end = Find(records, [](const LogRecord& r) {
    return r.event.kind == Event::Kind::kBatchDone && !r.effects.starts.empty() &&
           r.effects.starts[0].generation != 1;
  });
  for (void (*change)(Effects&) : std::initializer_list<void (*)(Effects&)>{
           [](Effects& e) { e.finishes[0].outcome = Outcome::kCancelled; },
           [](Effects& e) { e.finishes[0].reason = RejectReason::kYielded; },
           [](Effects& e) { e.finishes[0].request.sequence += 1; },
           [](Effects& e) { e.finishes[0].batch_position += 1; },
           [](Effects& e) { e.finishes[0].waiting += Duration(1); },
           [](Effects& e) { e.finishes[0].service += Duration(1); },
           [](Effects& e) { e.finishes[0].predicted += Duration(1); },
           [](Effects& e) { e.finishes[0].retry_after += Duration(1); },
           [](Effects& e) { e.finishes.clear(); },
           [](Effects& e) { e.finishes.push_back(e.finishes[0]); },
           [](Effects& e) { e.starts[0].variant = e.starts[0].variant == 0 ? 1 : 0; },
           [](Effects& e) { e.starts[0].predicted += Duration(1); },
           [](Effects& e) { e.members[0].index += 1; },
           [](Effects& e) {
             e.starts.clear();
             e.members.clear();
           }}) {
    std::vector<LogRecord> changed = records;
    change(changed[end].effects);
    const ReplayReport report = ReplayOf(changed);
    ASSERT_TRUE(report.difference.has_value());
    EXPECT_EQ(report.difference->number, end + 1);
    EXPECT_NE(report.difference->recorded, report.difference->replayed);
  }
}

TEST(Replay, SaysInWordsWhatDiffers) {
  std::vector<LogRecord> records = ScriptedRecords({.requests = 100});
  const std::size_t at =
      Find(records, [](const LogRecord& r) { return r.event.kind == Event::Kind::kBatchDone; });
  records[at].effects.finishes[0].outcome = Outcome::kFailed;
  const ReplayReport report = ReplayOf(records);
  ASSERT_TRUE(report.difference.has_value());
  EXPECT_THAT(report.difference->event, HasSubstr("batch "));
  EXPECT_THAT(report.difference->recorded, HasSubstr("ends failed"));
  EXPECT_THAT(report.difference->replayed, HasSubstr("ends on_time"));
}

TEST(Replay, AnotherPolicyDiffers) {
  EventLogHeader header = TestHeader();
  header.policy = "fifo";
  header.policy_options.clear();
  EXPECT_TRUE(ReplayOf(ScriptedRecords({.requests = 500}), header).difference.has_value());
}

TEST(Replay, EndsAtAGapAndIsNotExact) {
  std::vector<LogRecord> records = ScriptedRecords({.requests = 100});
  const std::size_t at = records.size() / 2;
  records[at].kind = LogRecord::Kind::kGap;
  records[at].lost = 1;
  const ReplayReport report = ReplayOf(records);
  EXPECT_FALSE(report.exact());
  EXPECT_FALSE(report.difference.has_value());
  ASSERT_TRUE(report.gap.has_value());
  EXPECT_EQ(report.gap->number, at + 1);
  EXPECT_EQ(report.gap->lost, 1U);
  EXPECT_EQ(report.events, at);
}

TEST(Replay, OfACutLogIsNotExact) {
  const std::string log = EncodeLog(TestHeader(), ScriptedRecords({.requests = 100}), 1000);
  Result<EventLogReader> reader = ReadLog(log.substr(0, log.size() - 1));
  const ReplayReport report = Replay(reader.value(), RegistryFactory()).value();
  EXPECT_FALSE(report.exact());
  EXPECT_FALSE(report.difference.has_value());
  ASSERT_TRUE(report.cut.has_value());
  EXPECT_GT(report.events, 50U);
}

TEST(Replay, PassesOnWhyThereIsNoPolicyOrNoFurtherRecord) {
  EventLogHeader header = TestHeader();
  header.policy = "guessing";
  Result<EventLogReader> unknown = ReadLog(EncodeLog(header, {}));
  EXPECT_THAT(Replay(unknown.value(), RegistryFactory()).error().message(),
              HasSubstr("unknown policy 'guessing'"));
  std::string damaged = EncodeLog(TestHeader(), ScriptedRecords({.requests = 100}));
  damaged[damaged.size() - 3] ^= 1;
  Result<EventLogReader> reader = ReadLog(damaged);
  EXPECT_THAT(Replay(reader.value(), RegistryFactory()).error().message(), HasSubstr("damaged"));
}

TEST(Replay, SaysHowLateTimersWere) {
  // One request runs, the next one waits and expires; its timer comes early once, then late.
  EventLogHeader header = TestHeader();
  Collector collector;
  Engine engine(header.config, RegistryFactory()(header.policy, header.policy_options).value());
  Effects effects;
  TimePoint now = header.start;
  const auto handle = [&](TimePoint time, const Event& event) {
    now = time;
    effects.Clear();
    engine.Handle(now, event, effects);
    collector.OnEvent(now, event, effects);
  };
  Event arrival;
  arrival.kind = Event::Kind::kArrival;
  arrival.arrival.generation = 1;
  arrival.arrival.timeout = milliseconds(2);
  handle(now, arrival);
  handle(now, arrival);
  const Event timer;
  const TimePoint due = engine.NextTimer();
  ASSERT_NE(due, kNever);
  handle(due - Duration(7), timer);
  EXPECT_TRUE(effects.finishes.empty());
  handle(due + Duration(9), timer);
  ASSERT_EQ(effects.finishes.size(), 1U);
  EXPECT_EQ(effects.finishes[0].outcome, Outcome::kExpired);
  const ReplayReport report = ReplayOf(collector.records);
  EXPECT_TRUE(report.exact());
  EXPECT_THAT(report.timer_lateness, testing::ElementsAre(Duration(-7), Duration(9)));
}

}  // namespace
}  // namespace duly
