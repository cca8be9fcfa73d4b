// SPDX-License-Identifier: Apache-2.0
#include "cli/summary_json.h"

#include <nlohmann/json.hpp>
#include <string>

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

double PerSecond(std::uint64_t count, Duration duration) {
  return duration > Duration(0) ? static_cast<double>(count) / ToSeconds(duration) : 0;
}

}  // namespace

std::uint64_t CountOf(const ApplicationSummary& application, Outcome outcome) {
  return application.outcomes.at(static_cast<std::size_t>(outcome));
}

Json ToJson(const ApplicationSummary& application, Duration duration) {
  Json json = {{"name", application.name},
               {"model", application.model},
               {"slo_ms", application.slo ? Json(ToMillis(*application.slo)) : Json(nullptr)},
               {"offered_per_s", PerSecond(application.offered, duration)},
               {"sent", application.offered}};
  for (const Outcome outcome : kAllOutcomes) {
    json[std::string(ToString(outcome))] = CountOf(application, outcome);
  }
  json["unanswered"] = application.unanswered;
  json["goodput_per_s"] = PerSecond(CountOf(application, Outcome::kOnTime), duration);
  json["on_time_device_s"] = ToSeconds(application.on_time_device_time);
  json["accuracy_pct"] =
      application.accuracy_count == 0
          ? Json(nullptr)
          : Json(application.accuracy_sum_pct / static_cast<double>(application.accuracy_count));
  const Latencies& response = application.response;
  const auto figure = [&](Duration value) {
    return response.count() == 0 ? Json(nullptr) : Json(ToMillis(value));
  };
  json["latency_ms"] = {
      {"mean", figure(response.Mean())},          {"p50", figure(response.Percentile(0.5))},
      {"p90", figure(response.Percentile(0.9))},  {"p95", figure(response.Percentile(0.95))},
      {"p99", figure(response.Percentile(0.99))}, {"max", figure(response.Percentile(1))}};
  return json;
}

}  // namespace duly
