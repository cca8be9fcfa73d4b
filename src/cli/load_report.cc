// SPDX-License-Identifier: Apache-2.0
#include "cli/load_report.h"

#include <fmt/format.h>
#include <fmt/ostream.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string_view>

#include "cli/table.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;
using workload::ApplicationLoad;
using workload::Arrival;

// Beyond this, the figures are also about the client.
constexpr double kNotableLatenessMs = 1;
constexpr std::size_t kReasonsShown = 5;

bool IsAnswered(const std::optional<Outcome>& outcome) {
  return outcome == Outcome::kOnTime || outcome == Outcome::kLate;
}

// What is summed up over the requests of one application, or of all.
struct Tally {
  ApplicationReport report;
  std::vector<Duration> latencies;
  std::vector<Duration> rejected;
  std::vector<Duration> expired;
  double accuracy_sum = 0;
  std::size_t accuracy_count = 0;

  void Add(const LoadRecord& record, std::uint32_t rows, const std::vector<std::string>& names);
  ApplicationReport Finish(double duration_s);
};

void Tally::Add(const LoadRecord& record, std::uint32_t rows,
                const std::vector<std::string>& names) {
  ++report.sent;
  if (!record.outcome) {
    ++report.unanswered;
    return;
  }
  ++report.outcomes[static_cast<std::size_t>(*record.outcome)];
  if (record.detail != 0) ++report.reasons[names[record.detail]];
  if (*record.outcome == Outcome::kRejected) rejected.push_back(record.latency);
  if (*record.outcome == Outcome::kExpired) expired.push_back(record.latency);
  if (!IsAnswered(record.outcome)) return;

  const AnswerNumbers& numbers = record.numbers;
  latencies.push_back(record.latency);
  report.checked_rows += numbers.checked_rows;
  report.correct_rows += numbers.correct_rows;
  if (record.variant != 0) ++report.variants[names[record.variant]];
  if (record.device != 0) ++report.devices[names[record.device]];
  if (std::isfinite(numbers.accuracy_pct)) {
    accuracy_sum += static_cast<double>(numbers.accuracy_pct);
    ++accuracy_count;
  }
  if (*record.outcome == Outcome::kOnTime && std::isfinite(numbers.compute_us)) {
    const double share =
        numbers.batch_rows == 0
            ? 1
            : std::min(1.0, static_cast<double>(rows) / static_cast<double>(numbers.batch_rows));
    report.on_time_device_s += static_cast<double>(numbers.compute_us) * 1e-6 * share;
  }
}

ApplicationReport Tally::Finish(double duration_s) {
  if (duration_s > 0) {
    report.offered_per_s = static_cast<double>(report.sent) / duration_s;
    report.goodput_per_s = static_cast<double>(report.count(Outcome::kOnTime)) / duration_s;
  }
  if (accuracy_count > 0) {
    report.accuracy_pct = accuracy_sum / static_cast<double>(accuracy_count);
  }
  report.latency = Summarize(std::move(latencies));
  report.rejected_latency = Summarize(std::move(rejected));
  report.expired_latency = Summarize(std::move(expired));
  return std::move(report);
}

// Four decimals: a tenth of a microsecond where the unit is a millisecond.
double Round(double value) { return std::round(value * 1e4) / 1e4; }

Json ToJson(const std::optional<LatencySummary>& summary) {
  const auto figure = [&summary](double LatencySummary::*member) {
    return summary ? Json(Round((*summary).*member)) : Json(nullptr);
  };
  return {{"mean", figure(&LatencySummary::mean_ms)}, {"p50", figure(&LatencySummary::p50_ms)},
          {"p90", figure(&LatencySummary::p90_ms)},   {"p95", figure(&LatencySummary::p95_ms)},
          {"p99", figure(&LatencySummary::p99_ms)},   {"max", figure(&LatencySummary::max_ms)}};
}

Json ToJson(const ApplicationReport& report) {
  const auto optional = [](const std::optional<double>& value) {
    return value ? Json(Round(*value)) : Json(nullptr);
  };
  Json json = {{"name", report.name},
               {"model", report.model.empty() ? Json(nullptr) : Json(report.model)},
               {"slo_ms", optional(report.slo_ms)},
               {"rate_per_s", Round(report.rate_per_s)},
               {"offered_per_s", Round(report.offered_per_s)},
               {"sent", report.sent}};
  for (const Outcome outcome : kAllOutcomes) {
    json[std::string(ToString(outcome))] = report.count(outcome);
  }
  json["unanswered"] = report.unanswered;
  json["goodput_per_s"] = Round(report.goodput_per_s);
  json["on_time_device_s"] = Round(report.on_time_device_s);
  json["accuracy_pct"] = optional(report.accuracy_pct);
  json["latency_ms"] = ToJson(report.latency);
  json["rejected_latency_ms"] = ToJson(report.rejected_latency);
  json["expired_latency_ms"] = ToJson(report.expired_latency);
  json["checked"] = report.checked_rows;
  json["correct"] = report.correct_rows;
  json["variants"] = report.variants;
  json["devices"] = report.devices;
  json["reasons"] = report.reasons;
  return json;
}

// A label's value as JSON: a number if all of it is one.
Json LabelValue(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && stop == end && std::isfinite(number)) return number;
  return text;
}

double Percent(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

double OnTimePercent(const ApplicationReport& report) {
  return Percent(report.count(Outcome::kOnTime), report.sent);
}

std::string_view ColourOf(double on_time_pct) {
  return on_time_pct >= 99 ? "\033[32m" : on_time_pct >= 90 ? "\033[33m" : "\033[31m";
}

std::string CsvNumber(float value) { return std::isfinite(value) ? fmt::format("{}", value) : ""; }

}  // namespace

std::optional<LatencySummary> Summarize(std::vector<Duration> latencies) {
  if (latencies.empty()) return std::nullopt;
  std::sort(latencies.begin(), latencies.end());
  // The smallest value that at least this share of the values does not exceed.
  const auto percentile = [&latencies](std::size_t percent) {
    const std::size_t rank = (latencies.size() * percent + 99) / 100;
    return ToMillis(latencies[std::max<std::size_t>(rank, 1) - 1]);
  };
  double sum_ms = 0;
  for (const Duration latency : latencies) sum_ms += ToMillis(latency);
  return LatencySummary{sum_ms / static_cast<double>(latencies.size()),
                        percentile(50),
                        percentile(90),
                        percentile(95),
                        percentile(99),
                        ToMillis(latencies.back())};
}

LoadReport MakeLoadReport(const LoadRunFacts& facts, std::span<const ApplicationLoad> applications,
                          std::span<const Arrival> schedule, const LoadRun& run) {
  std::vector<Tally> tallies(applications.size());
  Tally total;
  total.report.name = "total";
  for (std::size_t i = 0; i < applications.size(); ++i) {
    const ApplicationSpec& spec = applications[i].spec;
    ApplicationReport& report = tallies[i].report;
    report.name = spec.name;
    report.model = spec.model;
    if (spec.slo) report.slo_ms = ToMillis(*spec.slo);
    report.rate_per_s = spec.rate_per_s * facts.load_factor;
    total.report.rate_per_s += report.rate_per_s;
  }
  std::vector<Duration> lateness;
  for (std::size_t i = 0; i < run.arrivals; ++i) {
    const Arrival& arrival = schedule[i];
    if (arrival.at < facts.warmup) continue;
    const std::uint32_t rows = applications[arrival.application].rows;
    tallies[arrival.application].Add(run.records[i], rows, run.names);
    total.Add(run.records[i], rows, run.names);
    lateness.push_back(run.records[i].send_lateness);
  }

  LoadReport report;
  report.facts = facts;
  report.duration_s = ToSeconds(std::max(run.length - facts.warmup, Duration(0)));
  report.interrupted = run.interrupted;
  for (Tally& tally : tallies) report.applications.push_back(tally.Finish(report.duration_s));
  report.total = total.Finish(report.duration_s);
  report.send_lateness = Summarize(std::move(lateness));
  report.connections = run.connections;
  report.client_cpu_s = run.cpu_s;
  return report;
}

Json ToJson(const LoadReport& report) {
  Json labels = Json::object();
  for (const auto& [key, value] : report.facts.labels) labels[key] = LabelValue(value);
  Json applications = Json::array();
  for (const ApplicationReport& application : report.applications) {
    applications.push_back(ToJson(application));
  }
  return {{"tool", "load"},
          {"seed", report.facts.seed},
          {"duration_s", Round(report.duration_s)},
          {"warmup_s", ToSeconds(report.facts.warmup)},
          {"url", report.facts.url},
          {"load_factor", report.facts.load_factor},
          {"labels", std::move(labels)},
          {"interrupted", report.interrupted},
          {"send_lateness_ms", ToJson(report.send_lateness)},
          {"client",
           {{"threads", report.facts.threads},
            {"connections", report.connections},
            {"cpu_s", Round(report.client_cpu_s)}}},
          {"applications", std::move(applications)},
          {"total", ToJson(report.total)}};
}

std::string ToTable(const LoadReport& report, Colour colour) {
  std::vector<const ApplicationReport*> rows;
  for (const ApplicationReport& application : report.applications) rows.push_back(&application);
  if (rows.size() > 1) rows.push_back(&report.total);

  std::vector<TableColumn> columns;
  const auto add = [&](std::string title, auto cell) -> TableColumn& {
    TableColumn& column = columns.emplace_back();
    column.title = std::move(title);
    for (const ApplicationReport* row : rows) column.cells.push_back(cell(*row));
    return column;
  };
  const auto add_count = [&](Outcome outcome) {
    if (report.total.count(outcome) == 0) return;
    add(std::string(ToString(outcome)),
        [outcome](const ApplicationReport& row) { return fmt::to_string(row.count(outcome)); });
  };
  const auto add_latency = [&](std::string title, double LatencySummary::*member) {
    add(std::move(title), [member](const ApplicationReport& row) {
      return row.latency ? fmt::format("{:.2f}", (*row.latency).*member) : std::string("-");
    });
  };
  add("application", [](const ApplicationReport& row) { return row.name; }).align =
      TableColumn::Align::kLeft;
  add("offered/s", [](const auto& row) { return fmt::format("{:.1f}", row.offered_per_s); });
  add("sent", [](const auto& row) { return fmt::to_string(row.sent); });
  add("on time", [](const auto& row) { return fmt::to_string(row.count(Outcome::kOnTime)); });
  TableColumn& share = add("%", [](const auto& row) {
    return row.sent == 0 ? "-" : fmt::format("{:.2f}", OnTimePercent(row));
  });
  for (const ApplicationReport* row : rows) {
    if (colour == Colour::kAnsi) share.colours.push_back(ColourOf(OnTimePercent(*row)));
  }
  for (const Outcome outcome : kAllOutcomes) {
    if (outcome != Outcome::kOnTime) add_count(outcome);
  }
  if (report.total.unanswered > 0) {
    add("unanswered", [](const auto& row) { return fmt::to_string(row.unanswered); });
  }
  add_latency("p50 ms", &LatencySummary::p50_ms);
  add_latency("p95 ms", &LatencySummary::p95_ms);
  add_latency("p99 ms", &LatencySummary::p99_ms);
  if (report.total.accuracy_pct) {
    add("accuracy %", [](const auto& row) {
      return row.accuracy_pct ? fmt::format("{:.2f}", *row.accuracy_pct) : std::string("-");
    });
  }
  if (report.total.checked_rows > 0) {
    add("correct %", [](const auto& row) {
      return row.checked_rows == 0
                 ? "-"
                 : fmt::format("{:.2f}", Percent(row.correct_rows, row.checked_rows));
    });
  }

  std::string text = FormatTable(columns);
  text += fmt::format("{:.4g} s measured, seed {}, load factor {:.4g}{}\n", report.duration_s,
                      report.facts.seed, report.facts.load_factor,
                      report.interrupted ? ", interrupted" : "");
  std::vector<std::pair<std::size_t, std::string>> reasons;
  for (const auto& [reason, count] : report.total.reasons) reasons.emplace_back(count, reason);
  std::sort(reasons.rbegin(), reasons.rend());
  if (reasons.size() > kReasonsShown) reasons.resize(kReasonsShown);
  for (const auto& [count, reason] : reasons) text += fmt::format("{} times: {}\n", count, reason);
  if (report.send_lateness && report.send_lateness->p99_ms > kNotableLatenessMs) {
    text += fmt::format(
        "warning: the client was late itself (p99 {:.2f} ms, max {:.2f} ms): latencies include "
        "it\n",
        report.send_lateness->p99_ms, report.send_lateness->max_ms);
  }
  return text;
}

void WriteCsv(std::ostream& out, const LoadReport& report, std::span<const Arrival> schedule,
              const LoadRun& run) {
  out << "scheduled_s,application,outcome,latency_ms,variant,device,batch_rows,queue_us,compute_us,"
         "predicted_us,accuracy_pct,status,send_lateness_ms,reason\n";
  for (std::size_t i = 0; i < run.arrivals; ++i) {
    const Arrival& arrival = schedule[i];
    const LoadRecord& record = run.records[i];
    const AnswerNumbers& numbers = record.numbers;
    if (arrival.at < report.facts.warmup) continue;
    fmt::print(out, "{:.9f},{},{},{},{},{},{},{},{},{},{},{},{:.6f},{}\n",
               ToSeconds(arrival.at - report.facts.warmup),
               QuoteCsv(report.applications[arrival.application].name),
               record.outcome ? ToString(*record.outcome) : "unanswered",
               record.status == 0 ? "" : fmt::format("{:.6f}", ToMillis(record.latency)),
               QuoteCsv(run.names[record.variant]), QuoteCsv(run.names[record.device]),
               numbers.batch_rows == 0 ? "" : fmt::to_string(numbers.batch_rows),
               CsvNumber(numbers.queue_us), CsvNumber(numbers.compute_us),
               CsvNumber(numbers.predicted_us), CsvNumber(numbers.accuracy_pct),
               record.status == 0 ? "" : fmt::to_string(record.status),
               ToMillis(record.send_lateness), QuoteCsv(run.names[record.detail]));
  }
}

}  // namespace duly
