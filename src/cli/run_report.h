// SPDX-License-Identifier: Apache-2.0
//
// What `load` measures and `sim` predicts: one document, so that one reader fits both.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "model/outcome.h"

namespace duly {

struct LatencySummary {
  double mean_ms = 0;
  double p50_ms = 0;
  double p90_ms = 0;
  double p95_ms = 0;
  double p99_ms = 0;
  double max_ms = 0;
};
// Of latencies that were all kept: percentiles are exact (nearest rank). Nothing when there are
// none.
std::optional<LatencySummary> Summarize(std::vector<Duration> latencies);

struct ApplicationReport {
  std::string name;
  std::string model;  // empty in the total
  std::optional<double> slo_ms;
  double rate_per_s = 0;     // asked for
  double offered_per_s = 0;  // sent
  std::size_t sent = 0;
  std::array<std::size_t, kOutcomeCount> outcomes{};
  std::size_t unanswered = 0;
  double goodput_per_s = 0;               // on time
  double on_time_device_s = 0;            // each request's share, by rows, of its batch's time
  std::optional<double> accuracy_pct;     // mean of what the server says of the variants served
  std::optional<LatencySummary> latency;  // of answered requests: on time or late
  std::optional<LatencySummary> rejected_latency;
  std::optional<LatencySummary> expired_latency;
  std::size_t checked_rows = 0;
  std::size_t correct_rows = 0;
  std::map<std::string, std::size_t> variants;  // answered requests by name
  std::map<std::string, std::size_t> devices;
  std::map<std::string, std::size_t> reasons;  // why requests were rejected or failed

  std::size_t count(Outcome outcome) const { return outcomes[static_cast<std::size_t>(outcome)]; }
};

struct RunFacts {
  std::uint64_t seed = 0;
  double load_factor = 1;
  Duration warmup{0};  // requests that arrive during it are not counted
  std::vector<std::pair<std::string, std::string>> labels;
};

struct RunReport {
  RunFacts facts;
  double duration_s = 0;  // measured, without warm-up
  bool interrupted = false;
  std::vector<ApplicationReport> applications;
  ApplicationReport total;
};

// Figures that do not exist are null; labels that are numbers are written as numbers. `own`: what
// only this tool says.
nlohmann::ordered_json ToJson(const RunReport& report, std::string_view tool,
                              const nlohmann::ordered_json& own);
nlohmann::ordered_json ToJson(const std::optional<LatencySummary>& summary);
// Four decimals: a tenth of a microsecond where the unit is a millisecond.
double RoundForJson(double value);

enum class Colour : std::uint8_t { kNone, kAnsi };
// For people: a row per application and the total, then the run's length and seed, and why requests
// were rejected. Columns in which nothing happened are left out.
std::string ToTable(const RunReport& report, Colour colour);

}  // namespace duly
