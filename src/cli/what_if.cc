// SPDX-License-Identifier: Apache-2.0
#include "cli/what_if.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/build.h"
#include "base/scratch_folder.h"
#include "cli/cli.h"
#include "cli/json_output.h"
#include "cli/summary_json.h"
#include "cli/table.h"
#include "policy/registry.h"
#include "sim/recorded_run.h"
#include "telemetry/log_summary.h"
#include "telemetry/recorder.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

struct WhatIf {
  std::string file;
  EventLogHeader header;
  std::string policy;
  std::size_t batches = 0;  // recorded ones, which the services are
  LogSummary recorded;
  LogSummary again;      // the recorded policy, simulated
  LogSummary simulated;  // the other one
};

// Simulates the run under the policy of `header`, and sums up its log.
Result<LogSummary> SimulatedSummary(const sim::RecordedRun& run, const EventLogHeader& header,
                                    const std::string& log_file) {
  DULY_ASSIGN_OR_RETURN(std::unique_ptr<DispatchPolicy> policy,
                        MakeDispatchPolicy(header.policy, header.policy_options));
  DULY_ASSIGN_OR_RETURN(
      const std::unique_ptr<Recorder> recorder,
      Recorder::Start(log_file, header, {.when_full = RecorderOptions::WhenFull::kWait}));
  sim::Simulate(run, std::move(policy), *recorder);
  if (const Status closed = recorder->Close(); !closed.ok()) return Error(closed);
  DULY_ASSIGN_OR_RETURN(EventLogReader reader, EventLogReader::Open(log_file));
  return Summarize(reader);
}

Result<WhatIf> Ask(const WhatIfFlags& flags) {
  // Before the log is read, which may take long.
  if (const auto policy = MakeDispatchPolicy(flags.policy.name, flags.policy.options); !policy) {
    return Error(policy.error().WithContext("--policy"));
  }
  WhatIf result;
  result.file = flags.file;
  result.policy = flags.policy.name;
  DULY_ASSIGN_OR_RETURN(EventLogReader reader, EventLogReader::Open(flags.file));
  result.header = reader.header();
  DULY_ASSIGN_OR_RETURN(const sim::RecordedRun run, sim::ReadRecordedRun(reader));
  result.batches = run.batches.size();
  DULY_ASSIGN_OR_RETURN(EventLogReader from_the_start, EventLogReader::Open(flags.file));
  DULY_ASSIGN_OR_RETURN(result.recorded, Summarize(from_the_start));

  DULY_ASSIGN_OR_RETURN(const ScratchFolder folder, ScratchFolder::Make());
  EventLogHeader header = result.header;
  header.config = run.config;
  header.start = TimePoint();
  header.started = "virtual time 0";
  header.build = BuildId();
  DULY_ASSIGN_OR_RETURN(result.again, SimulatedSummary(run, header, folder.path() + "/again.log"));
  header.policy = flags.policy.name;
  header.policy_options = flags.policy.options;
  const std::string log_file =
      flags.record_file.empty() ? folder.path() + "/simulated.log" : flags.record_file;
  DULY_ASSIGN_OR_RETURN(result.simulated, SimulatedSummary(run, header, log_file));
  return result;
}

double OnTimePct(const ApplicationSummary& application) {
  if (application.offered == 0) return 100;
  return 100 * static_cast<double>(CountOf(application, Outcome::kOnTime)) /
         static_cast<double>(application.offered);
}

// In per cent of what was recorded; nothing where there is nothing to compare.
std::optional<double> OffPct(const Latencies& recorded, const Latencies& again, double p) {
  if (recorded.count() == 0 || again.count() == 0) return std::nullopt;
  const auto was = static_cast<double>(recorded.Percentile(p).count());
  if (was <= 0) return std::nullopt;
  return 100 * (static_cast<double>(again.Percentile(p).count()) / was - 1);
}

// Pairs the applications of the recorded run with those of a simulation, which has no more.
const ApplicationSummary* Find(const LogSummary& summary, const std::string& name) {
  for (const ApplicationSummary& application : summary.applications) {
    if (application.name == name) return &application;
  }
  return nullptr;
}

struct Row {
  const ApplicationSummary* recorded;
  const ApplicationSummary* again;
  const ApplicationSummary* simulated;
};
std::vector<Row> RowsOf(const WhatIf& what_if) {
  std::vector<Row> rows;
  for (const ApplicationSummary& application : what_if.recorded.applications) {
    const Row row{&application, Find(what_if.again, application.name),
                  Find(what_if.simulated, application.name)};
    if (row.again != nullptr && row.simulated != nullptr) rows.push_back(row);
  }
  return rows;
}

Json ToJson(const WhatIf& what_if) {
  const auto entry = [&](const Row& row) {
    const auto off = [&](double p) {
      const std::optional<double> pct = OffPct(row.recorded->response, row.again->response, p);
      return pct ? Json(*pct) : Json(nullptr);
    };
    return Json{{"name", row.recorded->name},
                {"recorded", ToJson(*row.recorded, what_if.recorded.duration)},
                {"recorded_policy_simulated", ToJson(*row.again, what_if.again.duration)},
                {"simulated", ToJson(*row.simulated, what_if.simulated.duration)},
                {"reproduced",
                 {{"on_time_points", OnTimePct(*row.again) - OnTimePct(*row.recorded)},
                  {"p50_pct", off(0.5)},
                  {"p95_pct", off(0.95)},
                  {"p99_pct", off(0.99)}}}};
  };
  Json applications = Json::array();
  for (const Row& row : RowsOf(what_if)) applications.push_back(entry(row));
  return {
      {"tool", "replay"},
      {"simulated", true},
      {"policy", what_if.policy},
      {"recorded_policy", what_if.header.policy},
      {"whole", !what_if.recorded.cut.has_value()},
      {"batches", what_if.batches},
      {"applications", std::move(applications)},
      {"total", entry({&what_if.recorded.total, &what_if.again.total, &what_if.simulated.total})}};
}

std::string ToText(const WhatIf& what_if) {
  std::vector<Row> rows = RowsOf(what_if);
  if (rows.size() != 1) {
    rows.push_back({&what_if.recorded.total, &what_if.again.total, &what_if.simulated.total});
  }
  std::vector<TableColumn> columns;
  const auto add = [&](std::string title, auto cell) {
    TableColumn& column = columns.emplace_back();
    column.title = std::move(title);
    for (const Row& row : rows) column.cells.push_back(cell(row));
  };
  const auto on_time = [](const ApplicationSummary& application) {
    return fmt::format("{:.1f} %", OnTimePct(application));
  };
  const auto latency = [](const ApplicationSummary& application, double p) {
    return application.response.count() == 0
               ? std::string("-")
               : fmt::format("{:.2f}", ToMillis(application.response.Percentile(p)));
  };
  const std::string was = what_if.header.policy;
  const std::string again = was + " simulated";
  add("application", [](const Row& row) { return row.recorded->name; });
  columns.back().align = TableColumn::Align::kLeft;
  add("offered", [](const Row& row) { return fmt::to_string(row.recorded->offered); });
  add("on time: " + was, [&](const Row& row) { return on_time(*row.recorded); });
  add(again, [&](const Row& row) { return on_time(*row.again); });
  add(what_if.policy, [&](const Row& row) { return on_time(*row.simulated); });
  for (const auto& [title, p] : {std::pair("p50 ms: ", 0.5), std::pair("p99 ms: ", 0.99)}) {
    add(title + was, [&, p = p](const Row& row) { return latency(*row.recorded, p); });
    add(again, [&, p = p](const Row& row) { return latency(*row.again, p); });
    add(what_if.policy, [&, p = p](const Row& row) { return latency(*row.simulated, p); });
  }

  const ApplicationSummary& recorded = what_if.recorded.total;
  const ApplicationSummary& reproduced = what_if.again.total;
  std::string text = fmt::format(
      "{}: {} requests recorded under {}; what {} would have done is simulated, with what {} "
      "recorded batches took\n",
      what_if.file, recorded.offered, was, what_if.policy, what_if.batches);
  text += fmt::format("how near: {} simulated is {:+.1f} points off on time", was,
                      OnTimePct(reproduced) - OnTimePct(recorded));
  for (const auto& [title, p] : {std::pair("p50", 0.5), std::pair("p99", 0.99)}) {
    const std::optional<double> off = OffPct(recorded.response, reproduced.response, p);
    if (off) text += fmt::format(", {:+.1f} % in its {}", *off, title);
  }
  return text + "\n\n" + FormatTable(columns);
}

}  // namespace

int RunWhatIf(const WhatIfFlags& flags, std::ostream& out, std::ostream& err) {
  const Result<WhatIf> what_if = Ask(flags);
  if (!what_if) {
    err << what_if.error().message() << '\n';
    return kExitUsage;
  }
  if (flags.json_file != "-") out << ToText(*what_if);
  if (what_if->recorded.cut) {
    fmt::print(err, "{}: has no end record: it was cut off, and simulated as far as it goes\n",
               flags.file);
  }
  if (!flags.json_file.empty()) {
    const Status written = WriteJson(flags.json_file, ToJson(*what_if), out);
    if (!written.ok()) {
      err << written.message() << '\n';
      return kExitUsage;
    }
  }
  return kExitDone;
}

}  // namespace duly
