// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>

#include "cli/load_client.h"
#include "cli/run_report.h"
#include "workload/mix.h"
#include "workload/schedule.h"

namespace duly {

// What is said about a run beside what the client recorded.
struct LoadRunFacts : RunFacts {
  std::string url;
  std::uint32_t threads = 1;
};

struct LoadReport : RunReport {
  std::string url;
  std::uint32_t threads = 1;
  // How late the client itself was to send; latencies include it.
  std::optional<LatencySummary> send_lateness;
  std::size_t connections = 0;
  double client_cpu_s = 0;
};

LoadReport MakeLoadReport(const LoadRunFacts& facts,
                          std::span<const workload::ApplicationLoad> applications,
                          std::span<const workload::Arrival> schedule, const LoadRun& run);

// The document of docs/load.md.
nlohmann::ordered_json ToJson(const LoadReport& report);

// The table of the run, and a warning when the client was late itself.
std::string ToTable(const LoadReport& report, Colour colour);

// One line per counted request, in the order of the schedule.
void WriteCsv(std::ostream& out, const LoadReport& report,
              std::span<const workload::Arrival> schedule, const LoadRun& run);

}  // namespace duly
