// SPDX-License-Identifier: Apache-2.0
#include "cli/load_report.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
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
  if (!record.outcome || !IsAnswer(*record.outcome)) return;

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

std::string CsvNumber(float value) { return std::isfinite(value) ? fmt::format("{}", value) : ""; }

}  // namespace

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
  report.url = facts.url;
  report.threads = facts.threads;
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
  return ToJson(report, "load",
                {{"url", report.url},
                 {"send_lateness_ms", ToJson(report.send_lateness)},
                 {"client",
                  {{"threads", report.threads},
                   {"connections", report.connections},
                   {"cpu_s", RoundForJson(report.client_cpu_s)}}}});
}

std::string ToTable(const LoadReport& report, Colour colour) {
  std::string text = ToTable(static_cast<const RunReport&>(report), colour);
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
