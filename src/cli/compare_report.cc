// SPDX-License-Identifier: Apache-2.0
#include "cli/compare_report.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "cli/table.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

const ApplicationReport& Part(const SimReport& run, int application) {
  return application < 0 ? run.total : run.applications[static_cast<std::size_t>(application)];
}

template <Outcome outcome>
std::optional<double> ShareOf(const SimReport& run, int application) {
  const ApplicationReport& part = Part(run, application);
  if (part.sent == 0) return std::nullopt;
  return 100.0 * static_cast<double>(part.count(outcome)) / static_cast<double>(part.sent);
}

template <double LatencySummary::*member>
std::optional<double> LatencyOf(const SimReport& run, int application) {
  const ApplicationReport& part = Part(run, application);
  if (!part.latency) return std::nullopt;
  return (*part.latency).*member;
}

// Of the node's devices, so of the total alone.
std::optional<double> EnergyOf(const SimReport& run, int application) {
  if (application >= 0) return std::nullopt;
  double sum_j = 0;
  for (const sim::DeviceUse& use : run.devices) {
    if (!use.energy_j) return std::nullopt;
    sum_j += *use.energy_j;
  }
  return sum_j;
}

constexpr std::array kMetrics{
    Metric{"on_time_pct", "on time %", true, ShareOf<Outcome::kOnTime>},
    Metric{"late_pct", "late %", false, ShareOf<Outcome::kLate>},
    Metric{"rejected_pct", "rejected %", false, ShareOf<Outcome::kRejected>},
    Metric{"goodput_per_s", "goodput /s", true,
           [](const SimReport& run, int application) -> std::optional<double> {
             return Part(run, application).goodput_per_s;
           }},
    Metric{"p50_ms", "p50 ms", false, LatencyOf<&LatencySummary::p50_ms>},
    Metric{"p95_ms", "p95 ms", false, LatencyOf<&LatencySummary::p95_ms>},
    Metric{"p99_ms", "p99 ms", false, LatencyOf<&LatencySummary::p99_ms>},
    Metric{
        "accuracy_pct", "accuracy %", true,
        [](const SimReport& run, int application) { return Part(run, application).accuracy_pct; }},
    Metric{"energy_j", "energy J", false, EnergyOf},
};

std::string InWords(const sim::MeanInterval& interval) {
  return fmt::format("{:.2f} ± {:.2f}", interval.mean, interval.half);
}

std::string_view Word(Compared::Verdict verdict) {
  switch (verdict) {
    case Compared::Verdict::kBetter:
      return "better";
    case Compared::Verdict::kWorse:
      return "worse";
    case Compared::Verdict::kLevel:
      break;
  }
  return "level";
}

int ApplicationCount(const Comparison& comparison) {
  return static_cast<int>(comparison.policies[0].runs[0].applications.size());
}

// The columns of one figure: a value for each policy, and for all but the base its difference.
void AddColumns(const Comparison& comparison, const Metric& metric, std::span<const int> rows,
                std::vector<TableColumn>& columns) {
  for (std::size_t p = 0; p < comparison.policies.size(); ++p) {
    TableColumn value{.title = comparison.policies[p].name, .cells = {}};
    TableColumn difference{.title = "difference", .cells = {}};
    for (const int row : rows) {
      const std::optional<Compared> compared = Compare(comparison, metric, p, row);
      value.cells.push_back(compared ? InWords(compared->value) : "-");
      difference.cells.push_back(
          compared ? fmt::format("{:+.2f} ± {:.2f} {}", compared->difference.mean,
                                 compared->difference.half, Word(compared->verdict))
                   : "-");
    }
    columns.push_back(std::move(value));
    if (p > 0) columns.push_back(std::move(difference));
  }
}

}  // namespace

const std::string& NameOf(const Comparison& comparison, int application) {
  return Part(comparison.policies[0].runs[0], application).name;
}

std::span<const Metric> AllMetrics() { return kMetrics; }

std::optional<Compared> Compare(const Comparison& comparison, const Metric& metric,
                                std::size_t policy, int application) {
  std::vector<double> values;
  std::vector<double> differences;
  for (std::size_t i = 0; i < comparison.seeds.size(); ++i) {
    const std::optional<double> base = metric.of(comparison.policies[0].runs[i], application);
    const std::optional<double> own = metric.of(comparison.policies[policy].runs[i], application);
    if (!base || !own) return std::nullopt;
    values.push_back(*own);
    differences.push_back(*own - *base);
  }
  Compared compared{sim::IntervalOf(values), sim::IntervalOf(differences),
                    Compared::Verdict::kLevel};
  const sim::MeanInterval& difference = compared.difference;
  // One run decides nothing.
  if (values.size() > 1 && std::abs(difference.mean) > difference.half) {
    compared.verdict = (difference.mean > 0) == metric.higher_is_better ? Compared::Verdict::kBetter
                                                                        : Compared::Verdict::kWorse;
  }
  return compared;
}

Json ToJson(const Comparison& comparison) {
  const auto interval = [](const sim::MeanInterval& each) {
    return Json{{"mean", RoundForJson(each.mean)}, {"half", RoundForJson(each.half)}};
  };
  const auto part = [&](std::size_t policy, int application) {
    Json json = {{"name", NameOf(comparison, application)}};
    for (const Metric& metric : kMetrics) {
      const std::optional<Compared> compared = Compare(comparison, metric, policy, application);
      if (!compared) continue;
      Json& figure = json[std::string(metric.key)];
      figure = interval(compared->value);
      if (policy == 0) continue;
      figure["difference"] = interval(compared->difference);
      figure["verdict"] = Word(compared->verdict);
    }
    return json;
  };
  Json policies = Json::array();
  for (std::size_t p = 0; p < comparison.policies.size(); ++p) {
    Json applications = Json::array();
    for (int a = 0; a < ApplicationCount(comparison); ++a) applications.push_back(part(p, a));
    policies.push_back({{"policy", comparison.policies[p].name},
                        {"applications", std::move(applications)},
                        {"total", part(p, -1)}});
  }
  return {{"tool", "compare"},
          {"scenario", comparison.scenario},
          {"seeds", comparison.seeds},
          {"interrupted", comparison.interrupted},
          {"duration_s", RoundForJson(comparison.policies[0].runs[0].duration_s)},
          {"load_factor", comparison.policies[0].runs[0].facts.load_factor},
          {"confidence", 0.95},
          {"base", comparison.policies[0].name},
          {"policies", std::move(policies)}};
}

std::string ToTable(const Comparison& comparison) {
  std::vector<int> rows;
  for (int a = 0; a < ApplicationCount(comparison); ++a) rows.push_back(a);
  rows.push_back(-1);
  std::vector<TableColumn> columns{
      {.title = "on time %", .align = TableColumn::Align::kLeft, .cells = {}}};
  for (const int row : rows) columns[0].cells.push_back(NameOf(comparison, row));
  AddColumns(comparison, kMetrics[0], rows, columns);
  std::string text = FormatTable(columns) + '\n';

  std::vector<TableColumn> all{{.title = "total", .align = TableColumn::Align::kLeft, .cells = {}}};
  const int total = -1;
  for (const Metric& metric : std::span(kMetrics).subspan(1)) {
    if (!Compare(comparison, metric, 0, total)) continue;
    std::vector<TableColumn> of_metric;
    AddColumns(comparison, metric, std::span(&total, 1), of_metric);
    all[0].cells.emplace_back(metric.title);
    if (all.size() == 1) {
      std::ranges::move(of_metric, std::back_inserter(all));
    } else {
      for (std::size_t c = 0; c < of_metric.size(); ++c) {
        all[c + 1].cells.push_back(std::move(of_metric[c].cells[0]));
      }
    }
  }
  text += FormatTable(all);
  const SimReport& first = comparison.policies[0].runs[0];
  text += fmt::format(
      "means and 95 % intervals over {} seeds ({} to {}) of {:.4g} s each, load factor {:.4g}; "
      "differences to {}, paired by seed\n",
      comparison.seeds.size(), comparison.seeds.front(), comparison.seeds.back(), first.duration_s,
      first.facts.load_factor, comparison.policies[0].name);
  return text;
}

}  // namespace duly
