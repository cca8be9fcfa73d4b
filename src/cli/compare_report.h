// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/sim_report.h"
#include "sim/latency_histogram.h"
#include "sim/statistics.h"
#include "sim/tally.h"

namespace duly {

// Several policies on the same arrivals and service times: run i of each has the same seed.
struct Comparison {
  struct Policy {
    std::string name;  // as given
    std::vector<SimReport> runs;
    // By application, then of all; all runs together.
    std::vector<sim::LatencyHistogram> latency;
    std::vector<std::array<sim::TimeSlice, sim::kTimeSlices>> over_time;
  };
  std::string scenario;
  std::string about;
  std::vector<std::uint64_t> seeds;
  std::vector<Policy> policies;  // the first is the base of differences
  bool interrupted = false;      // before all seeds had been run
};

// A figure of a run.
struct Metric {
  std::string_view key;    // of the JSON document
  std::string_view title;  // with unit
  bool higher_is_better = true;
  // Of an application, or of the total (index -1); nothing when there is none.
  std::optional<double> (*of)(const SimReport& run, int application);
};
std::span<const Metric> AllMetrics();

// What a policy reaches, and its difference to the base over paired runs.
struct Compared {
  sim::MeanInterval value;
  sim::MeanInterval difference;
  enum class Verdict : std::uint8_t { kLevel, kBetter, kWorse } verdict = Verdict::kLevel;
};
// Nothing when a run has no such figure. application: -1 for the total.
std::optional<Compared> Compare(const Comparison& comparison, const Metric& metric,
                                std::size_t policy, int application);

// Its name; that of the total for -1.
const std::string& NameOf(const Comparison& comparison, int application);

// The document of docs/sim.md.
nlohmann::ordered_json ToJson(const Comparison& comparison);
// For people: what is on time, by application, and the other figures of the total.
std::string ToTable(const Comparison& comparison);
// A page that opens without network: tables and plots, one file.
std::string ToHtml(const Comparison& comparison);

}  // namespace duly
