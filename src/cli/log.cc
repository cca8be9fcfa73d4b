// SPDX-License-Identifier: Apache-2.0
#include "cli/log.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/json_output.h"
#include "cli/summary_json.h"
#include "cli/table.h"
#include "telemetry/log_hash.h"
#include "telemetry/log_reader.h"
#include "telemetry/log_requests.h"
#include "telemetry/log_summary.h"
#include "telemetry/log_text.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

struct LogFlags {
  std::string action;
  std::string file;
  std::string json_file;  // summary, hash; "-" for stdout
  // print, csv: only what is about ...
  std::optional<std::string> application;  // ... requests of this application
  std::optional<std::uint64_t> request;    // ... the request of this sequence number
  std::optional<std::string> outcome;      // ... requests that end so
  std::optional<Duration> from;            // ... times since the start of the run
  std::optional<Duration> until;
};

double Utilization(const DeviceSummary& device, Duration duration) {
  return duration > Duration(0) ? ToSeconds(device.busy) / (ToSeconds(duration) * device.slots) : 0;
}

double MeanRows(const DeviceSummary& device) {
  return device.batches == 0
             ? 0
             : static_cast<double>(device.rows) / static_cast<double>(device.batches);
}

Json ToJson(const LogSummary& summary, const EventLogHeader& header) {
  Json applications = Json::array();
  for (const ApplicationSummary& application : summary.applications) {
    applications.push_back(ToJson(application, summary.duration));
  }
  Json devices = Json::array();
  for (const DeviceSummary& device : summary.devices) {
    devices.push_back({{"name", device.name},
                       {"slots", device.slots},
                       {"utilization", Utilization(device, summary.duration)},
                       {"batches", device.batches},
                       {"mean_rows", MeanRows(device)}});
  }
  return {{"tool", "log"},
          {"duly", header.build},
          {"started", header.started},
          {"host", header.host},
          {"seed", header.seed},
          {"policy", header.policy},
          {"duration_s", ToSeconds(summary.duration)},
          {"events", summary.events},
          {"lost", summary.lost},
          {"whole", !summary.cut.has_value()},
          {"applications", std::move(applications)},
          {"total", ToJson(summary.total, summary.duration)},
          {"devices", std::move(devices)}};
}

std::string ToTable(const LogSummary& summary) {
  std::vector<const ApplicationSummary*> rows;
  for (const ApplicationSummary& application : summary.applications) rows.push_back(&application);
  if (rows.size() != 1) rows.push_back(&summary.total);
  std::vector<TableColumn> columns;
  const auto add = [&](std::string title, auto cell) {
    TableColumn& column = columns.emplace_back();
    column.title = std::move(title);
    for (const ApplicationSummary* row : rows) column.cells.push_back(cell(*row));
  };
  add("application", [](const ApplicationSummary& row) { return row.name; });
  columns.back().align = TableColumn::Align::kLeft;
  add("offered", [](const ApplicationSummary& row) { return fmt::to_string(row.offered); });
  for (const Outcome outcome : kAllOutcomes) {
    std::string title(ToString(outcome));
    std::ranges::replace(title, '_', ' ');
    add(std::move(title),
        [outcome](const ApplicationSummary& row) { return fmt::to_string(CountOf(row, outcome)); });
  }
  if (summary.total.unanswered != 0) {
    add("unanswered", [](const ApplicationSummary& row) { return fmt::to_string(row.unanswered); });
  }
  for (const auto& [title, p] :
       {std::pair("p50 ms", 0.5), std::pair("p95 ms", 0.95), std::pair("p99 ms", 0.99)}) {
    add(title, [p = p](const ApplicationSummary& row) {
      return row.response.count() == 0
                 ? std::string("-")
                 : fmt::format("{:.2f}", ToMillis(row.response.Percentile(p)));
    });
  }

  TableColumn device{.title = "device", .align = TableColumn::Align::kLeft, .cells = {}};
  TableColumn utilization{.title = "utilization", .cells = {}};
  TableColumn batches{.title = "batches", .cells = {}};
  TableColumn mean_rows{.title = "mean rows", .cells = {}};
  for (const DeviceSummary& entry : summary.devices) {
    device.cells.push_back(entry.name);
    utilization.cells.push_back(
        fmt::format("{:.1f} %", 100 * Utilization(entry, summary.duration)));
    batches.cells.push_back(fmt::to_string(entry.batches));
    mean_rows.cells.push_back(fmt::format("{:.2f}", MeanRows(entry)));
  }
  return FormatTable(columns) + '\n' + FormatTable({device, utilization, batches, mean_rows});
}

// What a reader must know before it trusts the figures.
void WriteRemarks(const EventLogReader& reader, std::uint64_t lost, std::ostream& err,
                  const std::string& file) {
  if (lost != 0) {
    fmt::print(err, "{}: {} events are missing in it: the recorder could not keep up\n", file,
               lost);
  }
  if (reader.cut()) {
    fmt::print(err,
               "{}: byte {}: has no end record: it was cut off, and {} bytes behind its last whole "
               "block were not read\n",
               file, reader.cut()->offset, reader.cut()->bytes);
  }
}

Status WriteSummary(EventLogReader& reader, const LogFlags& flags, std::ostream& out,
                    std::ostream& err) {
  Result<LogSummary> summary = Summarize(reader);
  if (!summary) return summary.error();
  const EventLogHeader& header = reader.header();
  if (flags.json_file != "-") {
    fmt::print(out, "{} under {} on {}, from {} for {}: {} events\n\n{}", flags.file, header.policy,
               header.host, header.started, FormatDuration(summary->duration), summary->events,
               ToTable(*summary));
  }
  if (!flags.json_file.empty()) {
    const Status written = WriteJson(flags.json_file, ToJson(*summary, header), out);
    if (!written.ok()) return written;
  }
  WriteRemarks(reader, summary->lost, err, flags.file);
  return Status();
}

Status WriteHash(EventLogReader& reader, const LogFlags& flags, std::ostream& out,
                 std::ostream& err) {
  const Result<LogHash> hash = HashLog(reader);
  if (!hash) return hash.error();
  const auto text = [](std::uint64_t value) { return fmt::format("{:016x}", value); };
  if (flags.json_file != "-") {
    fmt::print(out, "{}  {}\nconfiguration {}, inputs {}, decisions {}\n", text(hash->all),
               flags.file, text(hash->config), text(hash->inputs), text(hash->decisions));
  }
  if (!flags.json_file.empty()) {
    const Json json = {{"tool", "log"},
                       {"hash", text(hash->all)},
                       {"configuration", text(hash->config)},
                       {"inputs", text(hash->inputs)},
                       {"decisions", text(hash->decisions)},
                       {"whole", !reader.cut().has_value()}};
    const Status written = WriteJson(flags.json_file, json, out);
    if (!written.ok()) return written;
  }
  WriteRemarks(reader, 0, err, flags.file);
  return Status();
}

// The filters of print and csv.
class Filter {
 public:
  Filter(const LogFlags& flags, const EventLogReader& reader)
      : flags_(flags), start_(reader.header().start), config_(reader.config()) {}
  // Whether there is an application of the name that was asked for, once the log was read.
  bool known() const {
    return !flags_.application ||
           std::ranges::any_of(config_.applications, [&](const Application& application) {
             return application.name == *flags_.application;
           });
  }
  bool about_requests() const { return flags_.application || flags_.request || flags_.outcome; }

  bool Time(TimePoint time) const {
    const Duration since = time - start_;
    return (!flags_.from || since >= *flags_.from) && (!flags_.until || since < *flags_.until);
  }
  bool Request(const RequestId& id, ApplicationIndex application) const {
    return (!flags_.request || id.sequence == *flags_.request) &&
           (!flags_.application || (application < config_.applications.size() &&
                                    config_.applications[application].name == *flags_.application));
  }
  bool Ended(Outcome outcome) const {
    return !flags_.outcome || ToString(outcome) == *flags_.outcome;
  }

 private:
  const LogFlags& flags_;
  const TimePoint start_;
  const EngineConfig& config_;
};

Status Print(EventLogReader& reader, const LogFlags& flags, const Filter& filter,
             std::ostream& out) {
  const EventLogHeader& header = reader.header();
  const EngineConfig& config = reader.config();
  std::unordered_map<std::uint64_t, ApplicationIndex> live;  // application by sequence
  const auto application_of = [&](const RequestId& id) {
    const auto found = live.find(id.sequence);
    return found == live.end() ? kNoIndex : found->second;
  };
  for (;;) {
    const Result<const LogRecord*> next = reader.Next();
    if (!next) return next.error();
    if (*next == nullptr) return Status();
    const LogRecord& record = **next;
    if (record.kind == LogRecord::Kind::kGap) {
      fmt::print(out, "{:>14} {:>8} {} events are missing\n", "", record.number, record.lost);
      continue;
    }
    if (record.kind == LogRecord::Kind::kEnd) {
      fmt::print(out, "{:>14} {:>8} end: {} events, {} missing\n", "", "", record.recorded,
                 record.lost);
      continue;
    }
    const Effects& effects = record.effects;
    const bool in_time = filter.Time(record.time);
    const auto line = [&](bool wanted, const std::string& text) {
      if (!wanted || !in_time) return;
      fmt::print(out, "{:>14.9f} {:>8} {}\n", ToSeconds(record.time - header.start), record.number,
                 text);
    };
    bool wanted = !filter.about_requests();
    if (record.event.kind == Event::Kind::kArrival) {
      const Arrival& arrival = record.event.arrival;
      const ApplicationIndex application =
          arrival.application == kNoIndex
              ? config.generations[arrival.generation].default_application
              : arrival.application;
      live[effects.arrived.sequence] = application;
      wanted = !flags.outcome && filter.Request(effects.arrived, application);
    } else if (record.event.kind == Event::Kind::kCancel) {
      const RequestId& id = record.event.request;
      wanted = !flags.outcome && filter.Request(id, application_of(id));
    }
    line(wanted, Describe(record.event, effects.arrived, config));
    for (const Finish& finish : effects.finishes) {
      line(filter.Request(finish.request, finish.application) && filter.Ended(finish.outcome),
           Describe(finish, config));
      live.erase(finish.request.sequence);
    }
    for (const StartBatch& start : effects.starts) {
      const std::span<const RequestId> members = effects.MembersOf(start);
      line(!flags.outcome && std::ranges::any_of(members,
                                                 [&](const RequestId& id) {
                                                   return filter.Request(id, application_of(id));
                                                 }),
           Describe(start, members, config));
    }
  }
}

Status WriteCsv(EventLogReader& reader, const Filter& filter, std::ostream& out) {
  const EventLogHeader& header = reader.header();
  const EngineConfig& config = reader.config();
  const auto millis = [](Duration d) { return fmt::format("{:.6f}", ToMillis(d)); };
  const auto write = [&](const LoggedRequest& request) {
    if (!filter.Time(request.arrived) || !filter.Request(request.id, request.application)) return;
    if (request.finish && !filter.Ended(request.finish->outcome)) return;
    const Arrival& arrival = request.arrival;
    const Generation& generation = config.generations[arrival.generation];
    fmt::print(out, "{},{:.9f},{},{},{},{},{},{},", request.id.sequence,
               ToSeconds(request.arrived - header.start),
               QuoteCsv(config.applications[request.application].name), QuoteCsv(generation.model),
               generation.version, arrival.rows,
               arrival.slo < Duration(0) ? "" : millis(arrival.slo),
               arrival.timeout < Duration(0) ? "" : millis(arrival.timeout));
    if (!request.finish) {
      out << "unanswered,,,,,,,,,\n";
      return;
    }
    const Finish& finish = *request.finish;
    const bool ran = finish.device != kNoIndex;
    const bool named = ran && finish.variant < generation.variants.size();
    fmt::print(out, "{},{},{},{},{},{},{},{},{},{:.9f}\n", ToString(finish.outcome),
               finish.reason == RejectReason::kNone ? "" : ToString(finish.reason),
               named ? QuoteCsv(generation.variants[finish.variant].name) : "",
               ran ? QuoteCsv(config.devices[finish.device].name) : "",
               ran ? fmt::to_string(finish.batch_rows) : "", millis(finish.waiting),
               ran ? millis(finish.service) : "", millis(request.ended - request.arrived),
               finish.predicted == Duration(0) ? "" : millis(finish.predicted),
               ToSeconds(request.ended - header.start));
  };
  out << "request,arrived_s,application,model,version,rows,slo_ms,timeout_ms,outcome,reason,"
         "variant,device,batch_rows,waiting_ms,service_ms,response_ms,predicted_ms,ended_s\n";
  LoggedRequests requests(config);
  for (;;) {
    const Result<const LogRecord*> record = reader.Next();
    if (!record) return record.error();
    if (*record == nullptr) break;
    requests.Add(**record, write);
  }
  requests.VisitUnfinished(write);
  return Status();
}

int RunLog(const LogFlags& flags, std::ostream& out, std::ostream& err) {
  const bool lines = flags.action == "print" || flags.action == "csv";
  const bool filtered =
      flags.application || flags.request || flags.outcome || flags.from || flags.until;
  if (lines ? !flags.json_file.empty() : filtered) {
    fmt::print(err, "{} takes no {}\n", flags.action, lines ? "--json" : "filter");
    return kExitUsage;
  }
  Result<EventLogReader> reader = EventLogReader::Open(flags.file);
  if (!reader) {
    err << reader.error().message() << '\n';
    return kExitUsage;
  }
  const Filter filter(flags, *reader);
  Status status;
  if (flags.action == "summary") {
    status = WriteSummary(*reader, flags, out, err);
  } else if (flags.action == "hash") {
    status = WriteHash(*reader, flags, out, err);
  } else {
    status = flags.action == "print" ? Print(*reader, flags, filter, out)
                                     : WriteCsv(*reader, filter, out);
    WriteRemarks(*reader, 0, err, flags.file);
    if (status.ok() && !filter.known()) {
      fmt::print(err, "{}: has no application '{}': expected one of:", flags.file,
                 *flags.application);
      for (const Application& application : reader->config().applications) {
        fmt::print(err, " {}", application.name);
      }
      err << '\n';
      return kExitUsage;
    }
  }
  if (status.ok()) return kExitDone;
  err << status.message() << '\n';
  return kExitUsage;
}

}  // namespace

std::function<int()> AddLogCommand(CLI::App& parser) {
  auto flags = std::make_shared<LogFlags>();
  parser.add_option("action", flags->action, "summary, print, csv or hash")
      ->type_name("ACTION")
      ->required()
      ->check([](const std::string& value) {
        const bool known =
            value == "summary" || value == "print" || value == "csv" || value == "hash";
        return known ? std::string() : "'" + value + "' is not summary, print, csv or hash";
      });
  parser.add_option("file", flags->file, "What serve --record wrote")
      ->type_name("FILE")
      ->required();
  parser.add_option("--json", flags->json_file, "summary, hash: write it (- = stdout)")
      ->type_name("FILE");
  parser.add_option("--application", flags->application, "print, csv: requests of this one only")
      ->type_name("NAME");
  parser.add_option("--request", flags->request, "print, csv: this request only")->type_name("N");
  parser.add_option("--outcome", flags->outcome, "print, csv: requests that end so")
      ->type_name("NAME")
      ->check([](const std::string& value) {
        std::string known;
        for (const Outcome outcome : kAllOutcomes) {
          if (value == ToString(outcome)) return std::string();
          known += (known.empty() ? "" : ", ") + std::string(ToString(outcome));
        }
        return "'" + value + "' is not an outcome: expected one of: " + known;
      });
  AddDuration(parser, "--from", flags->from, "print, csv: not before, since the start");
  AddDuration(parser, "--until", flags->until, "print, csv: before, since the start");
  parser.footer(
      "print writes a line for each event and decision, csv a line for each request, hash a\n"
      "stable hash of all inputs and decisions.\n"
      "Example:\n  duly log print run.log --outcome expired --until 10s");
  return [flags] { return RunLog(*flags, std::cout, std::cerr); };
}

}  // namespace duly
