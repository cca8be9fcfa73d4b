// SPDX-License-Identifier: Apache-2.0
#include "cli/sim_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/table.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

std::optional<LatencySummary> Summarize(const sim::LatencyHistogram& histogram) {
  if (histogram.count() == 0) return std::nullopt;
  const auto percentile = [&](double share) { return ToMillis(histogram.Percentile(share)); };
  return LatencySummary{histogram.MeanNs() * 1e-6, percentile(0.5),  percentile(0.9),
                        percentile(0.95),          percentile(0.99), ToMillis(histogram.max())};
}

// What is summed up over applications, beside their reports.
struct Sums {
  sim::LatencyHistogram latency;
  sim::LatencyHistogram rejected;
  sim::LatencyHistogram expired;
  double accuracy_sum_pct = 0;
  std::uint64_t accuracy_count = 0;
};

void Complete(ApplicationReport& report, const Sums& sums, double duration_s) {
  if (duration_s > 0) {
    report.offered_per_s = static_cast<double>(report.sent) / duration_s;
    report.goodput_per_s = static_cast<double>(report.count(Outcome::kOnTime)) / duration_s;
  }
  if (sums.accuracy_count > 0) {
    report.accuracy_pct = sums.accuracy_sum_pct / static_cast<double>(sums.accuracy_count);
  }
  report.latency = Summarize(sums.latency);
  report.rejected_latency = Summarize(sums.rejected);
  report.expired_latency = Summarize(sums.expired);
}

ApplicationReport ReportOf(const sim::Scenario& scenario,
                           const sim::ScenarioApplication& application,
                           const sim::SourceTally& tally, double duration_s, Sums& total) {
  const ApplicationSpec& spec = application.load.spec;
  const auto model = std::ranges::find(scenario.models, spec.model, &ModelSpec::name);
  ApplicationReport report;
  report.name = spec.name;
  report.model = spec.model;
  const std::optional<Duration> slo = spec.slo ? spec.slo : model->slo;
  if (slo) report.slo_ms = ToMillis(*slo);
  report.rate_per_s = spec.rate_per_s * scenario.load_factor;
  report.sent = tally.sent;
  std::ranges::copy(tally.outcomes, report.outcomes.begin());
  report.on_time_device_s = ToSeconds(tally.on_time_device_time);
  for (std::size_t v = 0; v < tally.variants.size(); ++v) {
    if (tally.variants[v] > 0) report.variants[model->variants[v].name] = tally.variants[v];
  }
  for (std::size_t n = 0; n < tally.devices.size(); ++n) {
    for (std::size_t d = 0; d < tally.devices[n].size(); ++d) {
      const sim::ScenarioNode& node = scenario.nodes[n];
      const std::string& device = node.devices[d].name;
      if (tally.devices[n][d] == 0) continue;
      report
          .devices[scenario.nodes.size() == 1 ? device : fmt::format("{}/{}", node.name, device)] =
          tally.devices[n][d];
    }
  }
  for (std::size_t r = 1; r < tally.reject_reasons.size(); ++r) {
    if (tally.reject_reasons[r] == 0) continue;
    report.reasons[std::string(ToString(static_cast<RejectReason>(r)))] = tally.reject_reasons[r];
  }
  Complete(
      report,
      {tally.latency, tally.rejected, tally.expired, tally.accuracy_sum_pct, tally.accuracy_count},
      duration_s);
  total.latency.Add(tally.latency);
  total.rejected.Add(tally.rejected);
  total.expired.Add(tally.expired);
  total.accuracy_sum_pct += tally.accuracy_sum_pct;
  total.accuracy_count += tally.accuracy_count;
  return report;
}

void AddTo(ApplicationReport& total, const ApplicationReport& report) {
  const auto add = [](auto& into, const auto& from) {
    for (const auto& [name, count] : from) into[name] += count;
  };
  total.rate_per_s += report.rate_per_s;
  total.sent += report.sent;
  for (std::size_t o = 0; o < kOutcomeCount; ++o) total.outcomes[o] += report.outcomes[o];
  total.on_time_device_s += report.on_time_device_s;
  add(total.variants, report.variants);
  add(total.devices, report.devices);
  add(total.reasons, report.reasons);
}

}  // namespace

SimReport MakeSimReport(const sim::Scenario& scenario, const sim::ScenarioRun& run) {
  SimReport report;
  report.facts.seed = scenario.seed;
  report.facts.load_factor = scenario.load_factor;
  report.facts.warmup = scenario.warmup;
  report.duration_s = ToSeconds(run.measured());
  report.scenario = scenario.file;
  report.policy = scenario.nodes.front().policy.name;
  Sums total;
  for (std::size_t a = 0; a < scenario.applications.size(); ++a) {
    report.applications.push_back(ReportOf(scenario, scenario.applications[a],
                                           run.tally().sources()[a], report.duration_s, total));
    AddTo(report.total, report.applications.back());
  }
  report.total.name = "total";
  Complete(report.total, total, report.duration_s);
  report.devices = run.devices();
  report.changes = run.changes();
  report.events = run.events();
  return report;
}

Json ToJson(const SimReport& report) {
  Json devices = Json::array();
  for (const sim::DeviceUse& use : report.devices) {
    devices.push_back(
        {{"node", use.node},
         {"name", use.name},
         {"utilization", RoundForJson(use.utilization)},
         {"batches", use.batches},
         {"rows", use.rows},
         {"energy_j", use.energy_j ? Json(RoundForJson(*use.energy_j)) : Json(nullptr)},
         {"switches", use.switches},
         {"peak_c", use.peak_c ? Json(RoundForJson(*use.peak_c)) : Json(nullptr)},
         {"throttled_s", RoundForJson(use.throttled_s)}});
  }
  Json changes = Json::array();
  for (const sim::Change& change : report.changes) {
    changes.push_back(
        {{"at_s", RoundForJson(ToSeconds(change.at))},
         {"node", change.node},
         {"what", change.what},
         {"done_s", change.done ? Json(RoundForJson(ToSeconds(*change.done))) : Json(nullptr)}});
  }
  return ToJson(report, "sim",
                {{"scenario", report.scenario},
                 {"policy", report.policy},
                 {"events", report.events},
                 {"devices", std::move(devices)},
                 {"changes", std::move(changes)}});
}

namespace {

std::string ChangesTable(const std::vector<sim::Change>& changes) {
  if (changes.empty()) return "";
  std::vector<TableColumn> columns(4);
  columns[0].title = "at s";
  columns[1].title = "node";
  columns[2].title = "change";
  columns[3].title = "done s";
  for (TableColumn* const text : {&columns[1], &columns[2]})
    text->align = TableColumn::Align::kLeft;
  for (const sim::Change& change : changes) {
    columns[0].cells.push_back(fmt::format("{:.3f}", ToSeconds(change.at)));
    columns[1].cells.push_back(change.node);
    columns[2].cells.push_back(change.what);
    columns[3].cells.push_back(change.done ? fmt::format("{:.3f}", ToSeconds(*change.done)) : "-");
  }
  return '\n' + FormatTable(columns);
}

}  // namespace

std::string ToTable(const SimReport& report, Colour colour) {
  std::vector<TableColumn> columns;
  const auto add = [&](std::string title, TableColumn::Align align, auto cell) {
    TableColumn& column = columns.emplace_back();
    column.title = std::move(title);
    column.align = align;
    for (const sim::DeviceUse& use : report.devices) column.cells.push_back(cell(use));
  };
  constexpr auto kLeft = TableColumn::Align::kLeft;
  constexpr auto kRight = TableColumn::Align::kRight;
  const auto any = [&](auto has) { return std::ranges::any_of(report.devices, has); };
  add("node", kLeft, [](const sim::DeviceUse& use) { return use.node; });
  add("device", kLeft, [](const sim::DeviceUse& use) { return use.name; });
  add("busy", kRight,
      [](const sim::DeviceUse& use) { return fmt::format("{:.1f} %", 100 * use.utilization); });
  add("batches", kRight, [](const sim::DeviceUse& use) { return fmt::to_string(use.batches); });
  add("rows", kRight, [](const sim::DeviceUse& use) { return fmt::to_string(use.rows); });
  if (any([](const sim::DeviceUse& use) { return use.switches > 0; })) {
    add("switches", kRight, [](const sim::DeviceUse& use) { return fmt::to_string(use.switches); });
  }
  if (any([](const sim::DeviceUse& use) { return use.energy_j.has_value(); })) {
    add("energy J", kRight, [](const sim::DeviceUse& use) {
      return use.energy_j ? fmt::format("{:.1f}", *use.energy_j) : std::string("-");
    });
  }
  if (any([](const sim::DeviceUse& use) { return use.peak_c.has_value(); })) {
    add("peak C", kRight, [](const sim::DeviceUse& use) {
      return use.peak_c ? fmt::format("{:.1f}", *use.peak_c) : std::string("-");
    });
    add("throttled s", kRight,
        [](const sim::DeviceUse& use) { return fmt::format("{:.1f}", use.throttled_s); });
  }
  return ToTable(static_cast<const RunReport&>(report), colour) + '\n' + FormatTable(columns) +
         ChangesTable(report.changes);
}

}  // namespace duly
