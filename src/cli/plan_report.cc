// SPDX-License-Identifier: Apache-2.0
#include "cli/plan_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/units.h"
#include "cli/json_output.h"
#include "cli/table.h"

namespace duly {
namespace {

using placement::Constraint;
using placement::Placement;

// More devices than this are described by the estimate: the answer shall take less than a second.
constexpr int kMostExact = 200;

std::string Millis(double seconds) { return fmt::format("{:.1f}", seconds * kMillis); }

}  // namespace

PlanReport MakePlanReport(Placement& placement, const placement::Algorithm& algorithm,
                          placement::Optimality optimality) {
  PlanReport report;
  report.algorithm = algorithm.name;
  report.optimality = optimality;
  report.limits = placement.rules().limits;
  report.hosted = placement.hosted();
  report.is_exact = placement.devices() <= kMostExact;
  const placement::Cluster& cluster = placement.cluster();
  for (const placement::Application& application : placement.applications()) {
    report.applications.push_back(
        {.name = application.name,
         .model = cluster.models[static_cast<std::size_t>(application.model)].name,
         .rate_per_s = application.rate_per_s,
         .slo = application.slo});
  }
  using placement::Responses;
  Responses responses(placement,
                      report.is_exact ? Responses::By::kPrediction : Responses::By::kEstimate);
  for (int d = 0; d < placement.devices(); ++d) {
    const Placement::Site& site = placement.site(d);
    const placement::Node& node = cluster.nodes[static_cast<std::size_t>(site.node)];
    const bool stable = responses.Enter(d);
    report.devices.push_back({.node = node.name,
                              .name = node.devices[static_cast<std::size_t>(site.index)].name,
                              .type = cluster.types[static_cast<std::size_t>(site.type)].name,
                              .applications = static_cast<int>(placement.on(d).size()),
                              .utilization = responses.utilization(),
                              .memory_used = placement.memory_used(site.node),
                              .memory_limit = placement.memory_limit(site.node)});
    for (const int a : placement.on(d)) {
      PlanReport::Application& application = report.applications[static_cast<std::size_t>(a)];
      application.device = d;
      if (stable) application.response = responses.Of(a);
    }
  }
  for (int a = 0; a < static_cast<int>(report.applications.size()); ++a) {
    PlanReport::Application& application = report.applications[static_cast<std::size_t>(a)];
    if (application.device == placement::kNowhere) {
      application.refusal = placement::WhyNot(placement, a);
    }
  }
  return report;
}

std::string ReasonOf(const PlanReport& report, const placement::Refusal& refusal) {
  const placement::Verdict& verdict = refusal.verdict;
  std::string where;
  if (refusal.device != placement::kNowhere) {
    const PlanReport::Device& device = report.devices[static_cast<std::size_t>(refusal.device)];
    where = fmt::format(" on {} {}", device.node, device.name);
  }
  const auto bytes = [](double value) { return FormatSize(static_cast<std::uint64_t>(value)); };
  switch (verdict.constraint) {
    case Constraint::kUnsupported:
      return "its model runs on no device of the cluster";
    case Constraint::kMemory:
      return fmt::format("memory{}: {} of {}", where, bytes(verdict.value), bytes(verdict.bound));
    case Constraint::kUtilization:
      return fmt::format("utilization{}: {:.3f} of {:.3f}", where, verdict.value, verdict.bound);
    case Constraint::kLatency: {
      const PlanReport::Application& broken =
          report.applications[static_cast<std::size_t>(verdict.application)];
      return fmt::format("latency{}: {} of '{}' would be {} ms, its SLO {} ms", where,
                         NameOf(broken.slo), broken.name, Millis(verdict.value),
                         Millis(verdict.bound));
    }
    case Constraint::kNone:
      break;
  }
  return fmt::format("fits{}, left out by the search", where);
}

nlohmann::ordered_json ToJson(const PlanReport& report) {
  using nlohmann::ordered_json;
  ordered_json json;
  json["tool"] = "plan";
  json["algorithm"] = report.algorithm;
  json["proven_optimal"] = report.optimality == placement::Optimality::kProven;
  json["exact"] = report.is_exact;
  json["limits"] = {{"memory", report.limits.memory},
                    {"utilization", report.limits.utilization},
                    {"headroom", report.limits.headroom}};
  json["hosted"] = report.hosted;
  json["refused"] = static_cast<int>(report.applications.size()) - report.hosted;
  json["applications"] = ordered_json::array();
  json["refusals"] = ordered_json::array();
  for (const PlanReport::Application& application : report.applications) {
    ordered_json one;
    one["name"] = application.name;
    one["model"] = application.model;
    one["rate_per_s"] = application.rate_per_s;
    one["slo_ms"] = application.slo.bound_s * kMillis;
    one["slo_of"] = NameOf(application.slo);
    if (application.device == placement::kNowhere) {
      one["constraint"] = ToString(application.refusal.verdict.constraint);
      one["reason"] = ReasonOf(report, application.refusal);
      json["refusals"].push_back(std::move(one));
      continue;
    }
    const PlanReport::Device& device = report.devices[static_cast<std::size_t>(application.device)];
    one["node"] = device.node;
    one["device"] = device.name;
    one["stable"] = application.response.has_value();
    if (const auto& response = application.response) {
      one["mean_ms"] = response->mean_s * kMillis;
      one["p95_ms"] = response->p95_s * kMillis;
      one["p99_ms"] = response->p99_s * kMillis;
      one["promised_ms"] = response->promised_s * kMillis;
    }
    json["applications"].push_back(std::move(one));
  }
  json["devices"] = ordered_json::array();
  for (const PlanReport::Device& device : report.devices) {
    json["devices"].push_back({{"node", device.node},
                               {"name", device.name},
                               {"type", device.type},
                               {"applications", device.applications},
                               {"utilization", device.utilization},
                               {"node_memory_bytes", device.memory_used},
                               {"node_memory_limit_bytes", device.memory_limit}});
  }
  return json;
}

std::string ToTable(const PlanReport& report) {
  constexpr auto kLeft = TableColumn::Align::kLeft;
  constexpr auto kRight = TableColumn::Align::kRight;
  std::vector<TableColumn> placed{
      {"application", kLeft, {}}, {"node", kLeft, {}},     {"device", kLeft, {}},
      {"rate/s", kRight, {}},     {"mean ms", kRight, {}}, {"p95 ms", kRight, {}},
      {"p99 ms", kRight, {}},     {"SLO ms", kRight, {}},  {"of", kLeft, {}}};
  std::vector<TableColumn> refused{{"refused", kLeft, {}}, {"constraint", kLeft, {}}};
  const auto add = [](std::vector<TableColumn>& columns, std::vector<std::string> cells) {
    for (std::size_t c = 0; c < cells.size(); ++c) columns[c].cells.push_back(std::move(cells[c]));
  };
  for (const PlanReport::Application& application : report.applications) {
    if (application.device == placement::kNowhere) {
      add(refused, {application.name, ReasonOf(report, application.refusal)});
      continue;
    }
    const PlanReport::Device& device = report.devices[static_cast<std::size_t>(application.device)];
    const auto& response = application.response;
    add(placed,
        {application.name, device.node, device.name, fmt::format("{:.4g}", application.rate_per_s),
         response ? Millis(response->mean_s) : "-", response ? Millis(response->p95_s) : "-",
         response ? Millis(response->p99_s) : "-", Millis(application.slo.bound_s),
         NameOf(application.slo)});
  }
  std::vector<TableColumn> devices{{"node", kLeft, {}},
                                   {"device", kLeft, {}},
                                   {"applications", kRight, {}},
                                   {"utilization", kRight, {}},
                                   {"memory of node", kRight, {}}};
  for (const PlanReport::Device& device : report.devices) {
    add(devices,
        {device.node, device.name, fmt::format("{}", device.applications),
         fmt::format("{:.3f}", device.utilization),
         fmt::format("{} of {}", FormatSize(device.memory_used), FormatSize(device.memory_limit))});
  }
  std::string text;
  for (const auto* columns : {&placed, &devices, &refused}) {
    if (!columns->front().cells.empty()) text += FormatTable(*columns) + '\n';
  }
  return text + fmt::format("{}: {} of {} applications hosted{}{}\n", report.algorithm,
                            report.hosted, report.applications.size(),
                            report.optimality == placement::Optimality::kProven
                                ? ", the most there can be"
                                : "",
                            report.is_exact ? "" : "; latencies are estimates");
}

}  // namespace duly
