// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/build.h"
#include "cli/cli.h"
#include "cli/log.h"
#include "cli/replay.h"
#include "cli/testing/run_command.h"
#include "cli/testing/subprocess.h"
#include "telemetry/log_summary.h"
#include "telemetry/log_test_util.h"

namespace duly {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Commands on a log of a scripted run.
class LogCommands : public testing::Test {
 protected:
  LogCommands()
      : records_(ScriptedRecords({.requests = 500, .load = 4})),
        file_(testing::TempDir() + testing::UnitTest::GetInstance()->current_test_info()->name() +
              ".log") {
    Save(EncodeLog(TestHeader(), records_));
  }
  ~LogCommands() override { std::filesystem::remove(file_); }

  void Save(const std::string& bytes) {
    std::ofstream(file_, std::ios::binary | std::ios::trunc) << bytes;
  }
  // Runs `duly COMMAND ... `, the log's name among the arguments.
  static Ran Run(const std::vector<std::string>& arguments) {
    const std::vector<Command> commands{{"log", "", AddLogCommand},
                                        {"replay", "", AddReplayCommand}};
    return RunCommand(arguments, commands);
  }
  Ran Log(const std::string& action, const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments{"log", action, file_};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return Run(arguments);
  }
  Ran Replay(const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments{"replay", file_};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return Run(arguments);
  }
  LogSummary Summary() {
    Result<EventLogReader> reader = EventLogReader::Open(file_);
    return Summarize(reader.value()).value();
  }

  std::vector<LogRecord> records_;
  const std::string file_;
};

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST_F(LogCommands, SummaryPrintsTheSameFiguresForPeopleAndMachines) {
  const LogSummary summary = Summary();
  const Ran table = Log("summary");
  EXPECT_EQ(table.exit, kExitDone);
  EXPECT_EQ(table.err, "");
  for (const ApplicationSummary& application : summary.applications) {
    EXPECT_THAT(table.out, HasSubstr(application.name));
    EXPECT_THAT(table.out,
                HasSubstr(fmt::format("{:.2f}", ToMillis(application.response.Percentile(0.95)))));
  }
  const Ran machine = Log("summary", {"--json", "-"});
  EXPECT_EQ(machine.exit, kExitDone);
  const json document = json::parse(machine.out);
  EXPECT_EQ(document["tool"], "log");
  EXPECT_EQ(document["policy"], "edf");
  ASSERT_EQ(document["applications"].size(), summary.applications.size());
  for (const json& application : document["applications"]) {
    std::uint64_t ended = application["unanswered"];
    for (const Outcome outcome : kAllOutcomes) {
      ended += application[std::string(ToString(outcome))].get<std::uint64_t>();
    }
    EXPECT_EQ(application["sent"], ended);
  }
  EXPECT_EQ(document["total"]["on_time"], summary.total.outcomes[0]);
  EXPECT_NEAR(document["total"]["latency_ms"]["p99"].get<double>(),
              ToMillis(summary.total.response.Percentile(0.99)), 1e-9);
  EXPECT_EQ(document["devices"][1]["name"], "gpu");
  EXPECT_NEAR(document["devices"][1]["utilization"].get<double>(),
              ToSeconds(summary.devices[1].busy) / ToSeconds(summary.duration), 1e-9);
}

TEST_F(LogCommands, PrintWritesALineForEachEventAndDecision) {
  std::size_t expected = 1;  // the end
  for (const LogRecord& record : records_) {
    expected += 1 + record.effects.finishes.size() + record.effects.starts.size();
  }
  const Ran ran = Log("print");
  EXPECT_EQ(ran.exit, kExitDone);
  const std::vector<std::string> lines = Lines(ran.out);
  EXPECT_EQ(lines.size(), expected);
  EXPECT_THAT(lines.front(), HasSubstr(" 1 arrival of request 1/0 from "));
  EXPECT_THAT(lines.back(), HasSubstr("end: "));
}

TEST_F(LogCommands, PrintFilters) {
  // A request that ran.
  const auto ran = std::ranges::find_if(records_, [](const LogRecord& record) {
    return record.event.kind == Event::Kind::kBatchDone;
  });
  const std::uint64_t sequence = ran->effects.finishes[0].request.sequence;
  const std::vector<std::string> one =
      Lines(Log("print", {"--request", std::to_string(sequence)}).out);
  ASSERT_GE(one.size(), 4U);
  EXPECT_THAT(one[0], HasSubstr("arrival of request " + std::to_string(sequence)));
  EXPECT_THAT(one[1], HasSubstr(" starts on "));
  EXPECT_THAT(one[one.size() - 2], HasSubstr(" ends "));

  const LogSummary summary = Summary();
  const std::vector<std::string> expired = Lines(Log("print", {"--outcome", "expired"}).out);
  EXPECT_EQ(expired.size(),
            1 + summary.total.outcomes[static_cast<std::size_t>(Outcome::kExpired)]);

  const auto arrivals = [](const std::string& text) {
    return std::ranges::count_if(Lines(text), [](const std::string& line) {
      return line.find("arrival of") != std::string::npos;
    });
  };
  const std::string guests = Log("print", {"--application", "guests"}).out;
  EXPECT_EQ(arrivals(guests), static_cast<std::int64_t>(summary.applications[3].offered));
  EXPECT_THAT(guests, testing::Not(HasSubstr("'cameras'")));

  const std::string half_text = fmt::format("{}ns", summary.duration.count() / 2);
  const Ran early = Log("print", {"--until", half_text});
  const Ran late = Log("print", {"--from", half_text});
  EXPECT_EQ(arrivals(early.out) + arrivals(late.out),
            static_cast<std::int64_t>(summary.total.offered));
  EXPECT_GT(arrivals(early.out), 0);
  EXPECT_GT(arrivals(late.out), 0);
}

TEST_F(LogCommands, CsvWritesALineForEachRequest) {
  const LogSummary summary = Summary();
  const Ran ran = Log("csv");
  EXPECT_EQ(ran.exit, kExitDone);
  const std::vector<std::string> lines = Lines(ran.out);
  EXPECT_EQ(lines.size(), 1 + summary.total.offered);
  EXPECT_THAT(lines[0], StartsWith("request,arrived_s,application,"));
  for (const std::string& line : lines) {
    EXPECT_EQ(std::ranges::count(line, ','), std::ranges::count(lines[0], ',')) << line;
  }
  const std::vector<std::string> failed =
      Lines(Log("csv", {"--application", "cameras", "--outcome", "failed"}).out);
  EXPECT_EQ(failed.size(),
            1 + summary.applications[0].outcomes[static_cast<std::size_t>(Outcome::kFailed)]);
}

TEST_F(LogCommands, HashPrintsOneLineThatScriptsCanCompare) {
  const Ran first = Log("hash");
  EXPECT_EQ(first.exit, kExitDone);
  EXPECT_EQ(Lines(first.out)[0].substr(16), "  " + file_);
  EXPECT_EQ(Log("hash").out, first.out);
  EXPECT_EQ(json::parse(Log("hash", {"--json", "-"}).out)["hash"], first.out.substr(0, 16));
  records_.back().time += Duration(1);
  Save(EncodeLog(TestHeader(), records_));
  EXPECT_NE(Log("hash").out, first.out);
}

TEST_F(LogCommands, SayWhatIsWrongWithAFile) {
  const std::string log = EncodeLog(TestHeader(), records_, 1000);
  Save(log.substr(0, log.size() - 1));
  for (const char* action : {"summary", "print", "csv", "hash"}) {
    const Ran cut = Log(action);
    EXPECT_EQ(cut.exit, kExitDone);
    EXPECT_THAT(cut.err, HasSubstr("has no end record")) << action;
  }
  std::string damaged = log;
  damaged[damaged.size() - 40] ^= 1;
  Save(damaged);
  for (const char* action : {"summary", "print", "csv", "hash"}) {
    const Ran ran = Log(action);
    EXPECT_EQ(ran.exit, kExitUsage) << action;
    EXPECT_THAT(ran.err, HasSubstr("is damaged")) << action;
  }
  EXPECT_EQ(Replay().exit, kExitUsage);
  Save("not a log");
  EXPECT_EQ(Log("summary").exit, kExitUsage);
  EXPECT_THAT(Replay().err, HasSubstr("is not an event log"));
}

TEST_F(LogCommands, RefuseFlagsThatMeanNothing) {
  EXPECT_EQ(Log("print", {"--json", "-"}).exit, kExitUsage);
  EXPECT_EQ(Log("hash", {"--application", "cameras"}).exit, kExitUsage);
  const Ran unknown = Log("csv", {"--application", "camera"});
  EXPECT_EQ(unknown.exit, kExitUsage);
  EXPECT_THAT(unknown.err, HasSubstr("expected one of: cameras speech tagger guests"));
}

TEST_F(LogCommands, ReplayOfAWholeRunIsExact) {
  const Ran ran = Replay();
  EXPECT_EQ(ran.exit, kExitDone);
  EXPECT_THAT(ran.out, HasSubstr("exact: " + std::to_string(records_.size()) + " events"));
  EXPECT_THAT(ran.out, HasSubstr(" early"));
  const json document = json::parse(Replay({"--json", "-"}).out);
  EXPECT_EQ(document["exact"], true);
  EXPECT_EQ(document["events"], records_.size());
  EXPECT_EQ(Replay({"--policy", "edf"}).exit, kExitDone);
}

TEST_F(LogCommands, ReplayOfAnotherBuildsLogWarnsInOneLineAndGoesOn) {
  EventLogHeader header = TestHeader();
  header.build = "9.9.9 (0123456789ab, GNU 12.2.0)";
  Save(EncodeLog(header, records_));
  const Ran foreign = Replay();
  EXPECT_EQ(foreign.exit, kExitDone);
  EXPECT_EQ(foreign.err,
            fmt::format("{}: was recorded by duly {}, this is duly {}: decisions may differ\n",
                        file_, header.build, BuildId()));
  header.build = BuildId();
  Save(EncodeLog(header, records_));
  EXPECT_EQ(Replay().err, "");
}

TEST_F(LogCommands, VariablesOfServeDoNotChangeWhatIsReplayed) {
  Subprocess replay(DULY_BINARY, {"replay", file_}, {"DULY_POLICY=fifo", "DULY_JSON=/nowhere/x"});
  EXPECT_EQ(replay.Wait(), kExitDone) << replay.err();
  EXPECT_THAT(replay.out(), HasSubstr("exact: "));
}

TEST_F(LogCommands, ReplayNamesTheFirstDifference) {
  const auto changed = std::ranges::find_if(records_, [](const LogRecord& record) {
    return record.event.kind == Event::Kind::kBatchDone && !record.event.done.failed;
  });
  changed->event.done.failed = true;
  Save(EncodeLog(TestHeader(), records_));
  const Ran ran = Replay();
  EXPECT_EQ(ran.exit, kExitFailed);
  EXPECT_THAT(ran.out, HasSubstr(fmt::format("event {}, ", changed->number)));
  EXPECT_THAT(ran.out, HasSubstr("\n  recorded  request "));
  EXPECT_THAT(ran.out, HasSubstr("\n  replayed  request "));
  const json document = json::parse(Replay({"--json", "-"}).out);
  EXPECT_EQ(document["exact"], false);
  EXPECT_EQ(document["first_difference"]["event"], changed->number);
}

TEST_F(LogCommands, ReplayCallsNeitherAGapNorACutExact) {
  const std::string whole = EncodeLog(TestHeader(), records_, 1000);
  Save(whole.substr(0, whole.size() - 1));
  const Ran cut = Replay();
  EXPECT_EQ(cut.exit, kExitFailed);
  EXPECT_THAT(cut.out, HasSubstr("has no end record, so this log is not exact"));
  records_[100].kind = LogRecord::Kind::kGap;
  records_[100].lost = 1;
  Save(EncodeLog(TestHeader(), records_));
  const Ran gap = Replay();
  EXPECT_EQ(gap.exit, kExitFailed);
  EXPECT_THAT(gap.out,
              HasSubstr("1 events are missing from event 101 on, so this log is not exact"));
}

TEST_F(LogCommands, ReplayUnderAnotherPolicyIsASimulationThatSaysWhatItIsWorth) {
  const Ran ran = Replay({"--policy", "fifo"});
  EXPECT_EQ(ran.exit, kExitDone) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("how near: edf simulated is "));
  const Ran unknown = Replay({"--policy", "lifo"});
  EXPECT_EQ(unknown.exit, kExitUsage);
  EXPECT_THAT(unknown.err, HasSubstr("--policy: unknown policy 'lifo'"));

  const std::string log = file_ + ".fifo";
  const json document =
      json::parse(Replay({"--policy", "fifo", "--json", "-", "--record", log}).out);
  EXPECT_EQ(document["policy"], "fifo");
  EXPECT_EQ(document["recorded_policy"], "edf");
  const json& total = document["total"];
  EXPECT_EQ(total["simulated"]["sent"], total["recorded_policy_simulated"]["sent"]);
  EXPECT_GT(total["simulated"]["sent"], 0);
  // The simulated run's own log says the same.
  Subprocess summary(DULY_BINARY, {"log", "summary", log, "--json", "-"});
  EXPECT_EQ(summary.Wait(), kExitDone) << summary.err();
  EXPECT_EQ(json::parse(summary.out())["total"], total["simulated"]);
  Subprocess replayed(DULY_BINARY, {"replay", log});
  EXPECT_EQ(replayed.Wait(), kExitDone) << replayed.out();

  EXPECT_EQ(Replay({"--record", log}).exit, kExitUsage) << "nothing is simulated";
}

}  // namespace
}  // namespace duly
