// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/fault.h"
#include "base/time.h"
#include "cli/status_line.h"
#include "cli/stop_signals.h"
#include "sim/run.h"
#include "sim/scenario.h"

namespace duly {

// What replaces things that a scenario says.
struct ScenarioFlags {
  std::string file;
  std::optional<Duration> duration;
  std::optional<Duration> warmup;
  std::optional<double> load_factor;
};
void AddScenarioFlags(CLI::App& parser, ScenarioFlags& flags);
// Every fault of the file is added.
sim::Scenario ReadScenario(const ScenarioFlags& flags, Faults& faults);

// Of every node: NAME or NAME:key=value,...; named by `flag` in faults.
void SetPolicy(std::string_view policy, std::string_view flag, sim::Scenario& scenario);
// With the policies that there are.
std::unique_ptr<sim::ScenarioRun> CreateRun(const sim::Scenario& scenario, Faults& faults);

// Runs it to its end, showing how far it is behind `what`. False: it was stopped before.
bool RunToEnd(const sim::Scenario& scenario, sim::ScenarioRun& run, const StopSignals& signals,
              StatusLine& status, std::string_view what = "");

}  // namespace duly
