// SPDX-License-Identifier: Apache-2.0
#include "cli/replay.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/build.h"
#include "cli/cli.h"
#include "cli/json_output.h"
#include "cli/policy_flag.h"
#include "cli/what_if.h"
#include "policy/registry.h"
#include "telemetry/log_summary.h"
#include "telemetry/replay.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

struct ReplayFlags {
  std::string file;
  std::optional<std::string> policy;
  std::string record_file;
  std::string json_file;  // "-" for stdout
};

// How late the live timer was.
struct TimerFigures {
  std::uint64_t timers = 0;
  std::uint64_t early = 0;
  Duration p50{0};
  Duration p99{0};
  Duration max{0};
};

TimerFigures FiguresOf(const ReplayReport& report) {
  TimerFigures figures;
  Latencies lateness;
  for (const Duration late : report.timer_lateness) {
    ++figures.timers;
    if (late < Duration(0)) ++figures.early;
    lateness.Add(late);
  }
  lateness.Sort();
  figures.p50 = lateness.Percentile(0.5);
  figures.p99 = lateness.Percentile(0.99);
  figures.max = lateness.Percentile(1);
  return figures;
}

Json ToJson(const ReplayReport& report, const EventLogHeader& header) {
  const TimerFigures timers = FiguresOf(report);
  Json json = {{"tool", "replay"},
               {"policy", header.policy},
               {"exact", report.exact()},
               {"events", report.events},
               {"decisions", report.decisions},
               {"whole", !report.cut.has_value()},
               {"first_difference", nullptr},
               {"first_gap", nullptr},
               {"timers",
                {{"count", timers.timers},
                 {"early", timers.early},
                 {"lateness_us",
                  {{"p50", ToMicros(timers.p50)},
                   {"p99", ToMicros(timers.p99)},
                   {"max", ToMicros(timers.max)}}}}}};
  if (report.difference) {
    const ReplayDifference& difference = *report.difference;
    json["first_difference"] = {
        {"event", difference.number},      {"time_s", ToSeconds(difference.since_start)},
        {"place", difference.place},       {"input", difference.event},
        {"recorded", difference.recorded}, {"replayed", difference.replayed}};
  }
  if (report.gap) {
    json["first_gap"] = {{"event", report.gap->number}, {"events", report.gap->lost}};
  }
  return json;
}

std::string InWords(const ReplayReport& report, const EventLogHeader& header,
                    const std::string& file) {
  std::string text;
  const std::string same =
      fmt::format("{} events with {} decisions", report.events, report.decisions);
  if (report.difference) {
    const ReplayDifference& difference = *report.difference;
    text = fmt::format(
        "{}: event {}, {:.9f} s after the start, came out differently; the {} before it came out "
        "the same\n  input     {}\n  recorded  {}\n  replayed  {}\n",
        difference.place, difference.number, ToSeconds(difference.since_start), report.events - 1,
        difference.event, difference.recorded, difference.replayed);
    return text;
  }
  if (report.gap) {
    text = fmt::format(
        "{}: {} events are missing from event {} on, so this log is not exact; {} before them came "
        "out the same\n",
        file, report.gap->lost, report.gap->number, same);
  } else if (report.cut) {
    text = fmt::format(
        "{}: byte {}: has no end record, so this log is not exact: it was cut off; {} before the "
        "cut came out the same\n",
        file, report.cut->offset, same);
  } else {
    text = fmt::format("{}: exact: {} under {} came out the same\n", file, same, header.policy);
  }
  const TimerFigures timers = FiguresOf(report);
  if (timers.timers != 0) {
    text += fmt::format(
        "{} timers were {:.0f} us late (median; p99 {:.0f} us, at most {:.0f} us), {} early\n",
        timers.timers, ToMicros(timers.p50), ToMicros(timers.p99), ToMicros(timers.max),
        timers.early);
  }
  return text;
}

int RunReplay(const ReplayFlags& flags, std::ostream& out, std::ostream& err) {
  Result<EventLogReader> reader = EventLogReader::Open(flags.file);
  if (!reader) {
    err << reader.error().message() << '\n';
    return kExitUsage;
  }
  const EventLogHeader& header = reader->header();
  if (flags.policy) {
    const PolicyChoice policy = ParsePolicyFlag(*flags.policy);
    // The recorded one, with its options, where only its name is given.
    const bool recorded = policy.name == header.policy &&
                          (policy.options.empty() || policy.options == header.policy_options);
    if (!recorded) {
      return RunWhatIf({flags.file, policy, flags.record_file, flags.json_file}, out, err);
    }
  }
  if (header.build != BuildId()) {
    fmt::print(err, "{}: was recorded by duly {}, this is duly {}: decisions may differ\n",
               flags.file, header.build, BuildId());
  }
  const Result<ReplayReport> report = Replay(*reader, MakeDispatchPolicy);
  if (!report) {
    err << report.error().message() << '\n';
    return kExitUsage;
  }
  if (flags.json_file != "-") out << InWords(*report, header, flags.file);
  if (!flags.json_file.empty()) {
    const Status written = WriteJson(flags.json_file, ToJson(*report, header), out);
    if (!written.ok()) {
      err << written.message() << '\n';
      return kExitUsage;
    }
  }
  return report->exact() ? kExitDone : kExitFailed;
}

}  // namespace

std::function<int()> AddReplayCommand(CLI::App& parser) {
  auto flags = std::make_shared<ReplayFlags>();
  parser.add_option("file", flags->file, "What serve --record wrote")
      ->type_name("FILE")
      ->required();
  parser
      .add_option("--policy", flags->policy,
                  "Another one: simulate what it would have done; NAME or NAME:key=value,...")
      ->type_name("NAME");
  parser.add_option("--record", flags->record_file, "With --policy: write the simulated run's log")
      ->type_name("FILE")
      ->needs("--policy");
  parser.add_option("--json", flags->json_file, "Write the report (- = stdout)")->type_name("FILE");
  parser.footer(
      "Exits with 1 and names the first difference unless every decision of the whole run came\n"
      "out the same; a log with a gap or without its end is never exact. With another policy the\n"
      "recorded one is simulated, too, which says how near the simulation is.\n"
      "Example:\n  duly replay run.log --policy fifo");
  return [flags] { return RunReplay(*flags, std::cout, std::cerr); };
}

}  // namespace duly
