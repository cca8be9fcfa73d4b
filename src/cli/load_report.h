// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "cli/load_client.h"
#include "model/outcome.h"
#include "workload/mix.h"
#include "workload/schedule.h"

namespace duly {

// Of latencies that were all kept: percentiles are exact (nearest rank).
struct LatencySummary {
  double mean_ms = 0;
  double p50_ms = 0;
  double p90_ms = 0;
  double p95_ms = 0;
  double p99_ms = 0;
  double max_ms = 0;
};
// Nothing when there are none.
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

// What is said about a run beside what the client recorded.
struct LoadRunFacts {
  std::string url;
  std::uint64_t seed = 0;
  double load_factor = 1;
  Duration warmup{0};  // requests that arrive during it are not counted
  std::vector<std::pair<std::string, std::string>> labels;
  std::uint32_t threads = 1;
};

struct LoadReport {
  LoadRunFacts facts;
  double duration_s = 0;  // measured, without warm-up
  bool interrupted = false;
  std::vector<ApplicationReport> applications;
  ApplicationReport total;
  // How late the client itself was to send; latencies include it.
  std::optional<LatencySummary> send_lateness;
  std::size_t connections = 0;
  double client_cpu_s = 0;
};

LoadReport MakeLoadReport(const LoadRunFacts& facts,
                          std::span<const workload::ApplicationLoad> applications,
                          std::span<const workload::Arrival> schedule, const LoadRun& run);

// The document of docs/load.md. Figures that do not exist are null; labels that are numbers are
// written as numbers.
nlohmann::ordered_json ToJson(const LoadReport& report);

enum class Colour : std::uint8_t { kNone, kAnsi };
// For people: a row per application and the total, then remarks. Columns in which nothing happened
// are left out.
std::string ToTable(const LoadReport& report, Colour colour);

// One line per counted request, in the order of the schedule.
void WriteCsv(std::ostream& out, const LoadReport& report,
              std::span<const workload::Arrival> schedule, const LoadRun& run);

}  // namespace duly
