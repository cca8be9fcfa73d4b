// SPDX-License-Identifier: Apache-2.0
#include "cli/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/table.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kReasonsShown = 5;

Json ToJson(const ApplicationReport& report) {
  const auto optional = [](const std::optional<double>& value) {
    return value ? Json(RoundForJson(*value)) : Json(nullptr);
  };
  Json json = {{"name", report.name},
               {"model", report.model.empty() ? Json(nullptr) : Json(report.model)},
               {"slo_ms", optional(report.slo_ms)},
               {"rate_per_s", RoundForJson(report.rate_per_s)},
               {"offered_per_s", RoundForJson(report.offered_per_s)},
               {"sent", report.sent}};
  for (const Outcome outcome : kAllOutcomes) {
    json[std::string(ToString(outcome))] = report.count(outcome);
  }
  json["unanswered"] = report.unanswered;
  json["goodput_per_s"] = RoundForJson(report.goodput_per_s);
  json["on_time_device_s"] = RoundForJson(report.on_time_device_s);
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

}  // namespace

double RoundForJson(double value) { return std::round(value * 1e4) / 1e4; }

Json ToJson(const std::optional<LatencySummary>& summary) {
  const auto figure = [&summary](double LatencySummary::*member) {
    return summary ? Json(RoundForJson((*summary).*member)) : Json(nullptr);
  };
  return {{"mean", figure(&LatencySummary::mean_ms)}, {"p50", figure(&LatencySummary::p50_ms)},
          {"p90", figure(&LatencySummary::p90_ms)},   {"p95", figure(&LatencySummary::p95_ms)},
          {"p99", figure(&LatencySummary::p99_ms)},   {"max", figure(&LatencySummary::max_ms)}};
}

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

Json ToJson(const RunReport& report, std::string_view tool, const Json& own) {
  Json labels = Json::object();
  for (const auto& [key, value] : report.facts.labels) labels[key] = LabelValue(value);
  Json applications = Json::array();
  for (const ApplicationReport& application : report.applications) {
    applications.push_back(ToJson(application));
  }
  Json json = {{"tool", tool},
               {"seed", report.facts.seed},
               {"duration_s", RoundForJson(report.duration_s)},
               {"warmup_s", ToSeconds(report.facts.warmup)},
               {"load_factor", report.facts.load_factor},
               {"labels", std::move(labels)},
               {"interrupted", report.interrupted}};
  json.update(own);
  json["applications"] = std::move(applications);
  json["total"] = ToJson(report.total);
  return json;
}

std::string ToTable(const RunReport& report, Colour colour) {
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
  return text;
}

}  // namespace duly
