// SPDX-License-Identifier: Apache-2.0
#include "cli/load_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/run_bound.h"

namespace duly {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using workload::ApplicationLoad;
using workload::Arrival;
using Json = nlohmann::ordered_json;

TEST(Summarize, PercentilesAreNearestRanksOfAllValues) {
  std::vector<Duration> latencies;
  for (int i = 200; i >= 1; --i) latencies.push_back(milliseconds(i));
  const LatencySummary summary = *Summarize(latencies);
  EXPECT_DOUBLE_EQ(summary.mean_ms, 100.5);
  EXPECT_DOUBLE_EQ(summary.p50_ms, 100);
  EXPECT_DOUBLE_EQ(summary.p90_ms, 180);
  EXPECT_DOUBLE_EQ(summary.p95_ms, 190);
  EXPECT_DOUBLE_EQ(summary.p99_ms, 198);
  EXPECT_DOUBLE_EQ(summary.max_ms, 200);
}

TEST(Summarize, FewValuesAndNone) {
  const LatencySummary one = *Summarize({milliseconds(7)});
  EXPECT_DOUBLE_EQ(one.p50_ms, 7);
  EXPECT_DOUBLE_EQ(one.p99_ms, 7);
  const LatencySummary two = *Summarize({milliseconds(9), milliseconds(1)});
  EXPECT_DOUBLE_EQ(two.p50_ms, 1);
  EXPECT_DOUBLE_EQ(two.p90_ms, 9);
  EXPECT_FALSE(Summarize({}));
}

// Two applications, one second of warm-up and ten of measurement.
class ReportTest : public ::testing::Test {
 protected:
  ReportTest() : applications_(2) {
    applications_[0].spec.name = "detector";
    applications_[0].spec.model = "lite";
    applications_[0].spec.slo = milliseconds(50);
    applications_[0].spec.rate_per_s = 5;
    applications_[0].rows = 2;
    applications_[1].spec.name = "vad, \"loud\"";
    applications_[1].spec.model = "silero";
    applications_[1].spec.rate_per_s = 1;
    run_.names = {"", "xs", "cpu", "queue_full"};
    run_.length = seconds(11);
    facts_.url = "http://h:1";
    facts_.seed = 7;
    facts_.load_factor = 2;
    facts_.warmup = seconds(1);
    facts_.labels = {{"policy", "edf"}, {"load", "2.0"}, {"host", "2.0b"}};
  }

  LoadRecord& Add(std::uint32_t application, std::optional<Outcome> outcome, Duration latency,
                  Duration at = seconds(2)) {
    schedule_.push_back({at, application, 0, false});
    LoadRecord record;
    record.outcome = outcome;
    record.latency = latency;
    if (outcome) record.status = 200;
    run_.records.push_back(record);
    run_.arrivals = run_.records.size();
    return run_.records.back();
  }
  LoadReport Make() { return MakeLoadReport(facts_, applications_, schedule_, run_); }

  // One of everything.
  void AddAll() {
    Add(0, Outcome::kFailed, milliseconds(1), milliseconds(999));  // in the warm-up
    LoadRecord& first = Add(0, Outcome::kOnTime, milliseconds(10));
    first.numbers = {100, 4000, 9000, 90, 8, 2, 1};
    first.variant = 1;
    first.device = 2;
    Add(0, Outcome::kOnTime, milliseconds(30)).numbers = {100, 1000, 9000, 92, 0, 2, 2};
    Add(0, Outcome::kLate, milliseconds(80)).numbers = {100, 8000, 9000, 94, 2, 0, 0};
    LoadRecord& rejected = Add(0, Outcome::kRejected, milliseconds(2));
    rejected.status = 503;
    rejected.detail = 3;
    rejected.send_lateness = milliseconds(1);
    Add(0, Outcome::kExpired, milliseconds(21)).status = 504;
    Add(1, Outcome::kCancelled, Duration(0)).status = 0;
    Add(1, Outcome::kFailed, Duration(0)).status = 0;
    Add(1, std::nullopt, Duration(0));
  }

  std::vector<ApplicationLoad> applications_;
  std::vector<Arrival> schedule_;
  LoadRun run_;
  LoadRunFacts facts_;
};

TEST_F(ReportTest, CountsWhatArrivesAfterTheWarmUp) {
  AddAll();
  const LoadReport report = Make();
  EXPECT_DOUBLE_EQ(report.duration_s, 10);
  const ApplicationReport& detector = report.applications[0];
  EXPECT_EQ(detector.sent, 5U);
  EXPECT_EQ(detector.count(Outcome::kOnTime), 2U);
  EXPECT_EQ(detector.count(Outcome::kFailed), 0U);
  EXPECT_DOUBLE_EQ(detector.rate_per_s, 10);
  EXPECT_DOUBLE_EQ(detector.offered_per_s, 0.5);
  EXPECT_DOUBLE_EQ(detector.goodput_per_s, 0.2);
  // Two of eight rows of 4 ms; all of 1 ms where the batch is unknown; nothing for the late one.
  EXPECT_NEAR(detector.on_time_device_s, 0.004 * 2 / 8 + 0.001, 1e-9);
  EXPECT_DOUBLE_EQ(*detector.accuracy_pct, 92);
  EXPECT_DOUBLE_EQ(detector.latency->mean_ms, 40);
  EXPECT_DOUBLE_EQ(detector.latency->max_ms, 80);
  EXPECT_DOUBLE_EQ(detector.rejected_latency->p50_ms, 2);
  EXPECT_DOUBLE_EQ(detector.expired_latency->p50_ms, 21);
  EXPECT_EQ(detector.checked_rows, 4U);
  EXPECT_EQ(detector.correct_rows, 3U);
  EXPECT_EQ(report.applications[1].unanswered, 1U);
  EXPECT_FALSE(report.applications[1].latency);
  EXPECT_DOUBLE_EQ(report.send_lateness->max_ms, 1);
}

TEST_F(ReportTest, OutcomesAlwaysSumUpToWhatWasSent) {
  AddAll();
  const LoadReport report = Make();
  std::vector<ApplicationReport> all = report.applications;
  all.push_back(report.total);
  for (const ApplicationReport& each : all) {
    std::size_t sum = each.unanswered;
    for (const std::size_t count : each.outcomes) sum += count;
    EXPECT_EQ(sum, each.sent);
  }
  EXPECT_EQ(report.total.sent, 8U);
}

TEST_F(ReportTest, ArrivalsAfterAnInterruptionAreNotCounted) {
  Add(0, Outcome::kOnTime, milliseconds(1));
  Add(0, std::nullopt, Duration(0), seconds(9));
  run_.arrivals = 1;
  run_.length = seconds(3);
  run_.interrupted = true;
  const LoadReport report = Make();
  EXPECT_EQ(report.total.sent, 1U);
  EXPECT_DOUBLE_EQ(report.duration_s, 2);
  EXPECT_DOUBLE_EQ(report.total.goodput_per_s, 0.5);
  EXPECT_THAT(ToTable(report, Colour::kNone), HasSubstr("interrupted"));
  run_.length = milliseconds(500);
  run_.arrivals = 0;
  EXPECT_DOUBLE_EQ(Make().duration_s, 0);
  EXPECT_DOUBLE_EQ(Make().total.offered_per_s, 0);
}

TEST_F(ReportTest, TheDocumentHasTheKeysOfTheContract) {
  AddAll();
  const Json json = ToJson(Make());
  EXPECT_EQ(json["tool"], "load");
  EXPECT_EQ(json["seed"], 7);
  EXPECT_EQ(json["duration_s"], 10.0);
  EXPECT_EQ(json["url"], "http://h:1");
  EXPECT_EQ(json["labels"], Json::parse(R"({"policy":"edf","load":2.0,"host":"2.0b"})"));
  EXPECT_EQ(json["send_lateness_ms"]["max"], 1.0);
  const std::vector<std::string> keys = {
      "name",      "model",      "slo_ms",        "offered_per_s",    "sent",
      "on_time",   "late",       "rejected",      "expired",          "cancelled",
      "failed",    "unanswered", "goodput_per_s", "on_time_device_s", "accuracy_pct",
      "latency_ms"};
  ASSERT_EQ(json["applications"].size(), 2U);
  for (const Json& each : {json["applications"][0], json["applications"][1], json["total"]}) {
    for (const std::string& key : keys) EXPECT_TRUE(each.contains(key)) << key;
    EXPECT_EQ(each["on_time"].get<int>() + each["late"].get<int>() + each["rejected"].get<int>() +
                  each["expired"].get<int>() + each["cancelled"].get<int>() +
                  each["failed"].get<int>() + each["unanswered"].get<int>(),
              each["sent"].get<int>());
    for (const char* key : {"mean", "p50", "p90", "p95", "p99", "max"}) {
      EXPECT_TRUE(each["latency_ms"].contains(key)) << key;
    }
  }
  const Json& detector = json["applications"][0];
  EXPECT_EQ(detector["slo_ms"], 50.0);
  EXPECT_EQ(detector["latency_ms"]["p50"], 30.0);
  EXPECT_EQ(detector["variants"], Json::parse(R"({"xs":1})"));
  EXPECT_EQ(detector["reasons"], Json::parse(R"({"queue_full":1})"));
  const Json& vad = json["applications"][1];
  EXPECT_TRUE(vad["slo_ms"].is_null());
  EXPECT_TRUE(vad["accuracy_pct"].is_null());
  EXPECT_TRUE(vad["latency_ms"]["p99"].is_null());
  EXPECT_EQ(json["total"]["name"], "total");
}

TEST_F(ReportTest, TheTableIsAlignedAndLeavesEmptyColumnsOut) {
  Add(0, Outcome::kOnTime, microseconds(1234));
  Add(1, Outcome::kOnTime, milliseconds(1));
  const std::string table = ToTable(Make(), Colour::kNone);
  EXPECT_THAT(table, AllOf(HasSubstr("detector"), HasSubstr("1.23"), HasSubstr("total"),
                           Not(HasSubstr("rejected")), Not(HasSubstr("accuracy")),
                           Not(HasSubstr("\033")), HasSubstr("seed 7")));
  std::istringstream lines(table);
  std::string line;
  std::getline(lines, line);
  const std::size_t width = line.size();
  for (int row = 0; row < 3; ++row) {
    std::getline(lines, line);
    EXPECT_EQ(line.size(), width) << line;
  }
  EXPECT_THAT(ToTable(Make(), Colour::kAnsi), HasSubstr("\033[32m"));
}

TEST_F(ReportTest, TheTableSaysWhenTheClientItselfWasLate) {
  Add(0, Outcome::kOnTime, milliseconds(9));
  EXPECT_THAT(ToTable(Make(), Colour::kNone), Not(HasSubstr("warning")));
  run_.records[0].send_lateness = milliseconds(5);
  EXPECT_THAT(ToTable(Make(), Colour::kNone), HasSubstr("the client was late itself (p99 5.00 ms"));
}

TEST_F(ReportTest, TheCsvHasALinePerRequest) {
  AddAll();
  std::ostringstream out;
  WriteCsv(out, Make(), schedule_, run_);
  EXPECT_EQ(out.str(),
            "scheduled_s,application,outcome,latency_ms,variant,device,batch_rows,queue_us,"
            "compute_us,predicted_us,accuracy_pct,status,send_lateness_ms,reason\n"
            "1.000000000,detector,on_time,10.000000,xs,cpu,8,100,4000,9000,90,200,0.000000,\n"
            "1.000000000,detector,on_time,30.000000,,,,100,1000,9000,92,200,0.000000,\n"
            "1.000000000,detector,late,80.000000,,,2,100,8000,9000,94,200,0.000000,\n"
            "1.000000000,detector,rejected,2.000000,,,,,,,,503,1.000000,queue_full\n"
            "1.000000000,detector,expired,21.000000,,,,,,,,504,0.000000,\n"
            "1.000000000,\"vad, \"\"loud\"\"\",cancelled,,,,,,,,,,0.000000,\n"
            "1.000000000,\"vad, \"\"loud\"\"\",failed,,,,,,,,,,0.000000,\n"
            "1.000000000,\"vad, \"\"loud\"\"\",unanswered,,,,,,,,,,0.000000,\n");
}

class BoundTest : public ReportTest {
 protected:
  bool Holds(const std::string& text) {
    const Result<RunBound> bound = ParseRunBound(text);
    EXPECT_TRUE(bound) << text;
    return bound && !Violation(*bound, Make());
  }
};

TEST_F(BoundTest, ComparesCountsSharesAndFigures) {
  AddAll();
  for (const char* text :
       {"sent=8", "sent==8", "on_time>=2", "on_time>1", "on_time>=25%", "on_time <= 25%",
        "unanswered<2", "detector.unanswered=0", "detector.on_time=40%", "correct=75%", "checked=4",
        "p99_ms<=80", "max_ms<81", "goodput_per_s>0.19", "accuracy_pct>=92", "on_time_device_s<1",
        "offered_per_s=0.8", "vad, \"loud\".failed=1"}) {
    EXPECT_TRUE(Holds(text)) << text;
  }
  for (const char* text :
       {"sent=9", "on_time>2", "on_time>25%", "on_time<25%", "detector.p50_ms<30",
        "vad, \"loud\".p99_ms<100", "vad, \"loud\".correct>=0%", "nobody.sent=0"}) {
    EXPECT_FALSE(Holds(text)) << text;
  }
}

TEST_F(BoundTest, SaysWhatTheFigureIs) {
  AddAll();
  EXPECT_EQ(Violation(*ParseRunBound("on_time>=99%"), Make()), "it is 25%");
  EXPECT_EQ(Violation(*ParseRunBound("p99_ms<50"), Make()), "it is 80");
}

TEST(ParseRunBound, RefusesWhatIsNoBound) {
  for (const char* text : {"", "on_time", "on_time>=", "on_time>=x", "on_time>=9x", ">=9",
                           "ontime>=9", "p99_ms<5%", "p99_ms<5ms", "on_time=>9", "a.b>=inf"}) {
    EXPECT_FALSE(ParseRunBound(text)) << text;
  }
}

}  // namespace
}  // namespace duly
