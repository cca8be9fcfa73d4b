// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/run_report.h"
#include "sim/run.h"
#include "sim/scenario.h"

namespace duly {

struct SimReport : RunReport {
  std::string scenario;  // the file
  std::string policy;
  std::vector<sim::DeviceUse> devices;
  std::vector<sim::Change> changes;
  std::uint64_t events = 0;
};

// After the last Advance() of the run.
SimReport MakeSimReport(const sim::Scenario& scenario, const sim::ScenarioRun& run);

// The document of docs/sim.md.
nlohmann::ordered_json ToJson(const SimReport& report);
// The table of the run, one of the devices, and one of what changed.
std::string ToTable(const SimReport& report, Colour colour);

}  // namespace duly
