// SPDX-License-Identifier: Apache-2.0
#include "cli/scenario_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/flags.h"
#include "cli/policy_flag.h"
#include "policy/registry.h"

namespace duly {

void AddScenarioFlags(CLI::App& parser, ScenarioFlags& flags) {
  parser.add_option("scenario", flags.file, "What there is and who sends (docs/sim.md)")
      ->type_name("FILE")
      ->required()
      ->check(CLI::ExistingFile);
  AddDuration(parser, "--duration", flags.duration, "Measured time");
  AddDuration(parser, "--warmup", flags.warmup, "Time before it, not measured");
  parser.add_option("--load-factor", flags.load_factor, "Multiplies every rate")
      ->type_name("F")
      ->check(CLI::PositiveNumber);
}

sim::Scenario ReadScenario(const ScenarioFlags& flags, Faults& faults) {
  sim::Scenario scenario = sim::ReadScenario(flags.file, faults);
  if (flags.duration) scenario.duration = *flags.duration;
  if (flags.warmup) scenario.warmup = *flags.warmup;
  if (flags.load_factor) scenario.load_factor = *flags.load_factor;
  return scenario;
}

void SetPolicy(std::string_view policy, std::string_view flag, sim::Scenario& scenario) {
  const PolicyChoice choice = ParsePolicyFlag(policy);
  for (sim::ScenarioNode& node : scenario.nodes) {
    node.policy = {choice.name, {std::string(flag), 0, 0}, {}};
    for (const auto& [key, value] : choice.options) {
      node.policy.options.push_back({key, value, {}, {}});
    }
  }
}

std::unique_ptr<sim::ScenarioRun> CreateRun(const sim::Scenario& scenario, Faults& faults) {
  return sim::ScenarioRun::Create(scenario, MakeDispatchPolicy, faults);
}

bool RunToEnd(const sim::Scenario& scenario, sim::ScenarioRun& run, const StopSignals& signals,
              StatusLine& status, std::string_view what) {
  const Duration end = scenario.warmup + scenario.duration;
  // Short enough that progress is seen, whatever a simulated second costs.
  const Duration step = std::max(Duration(1'000'000), end / 10000);
  Duration until = step;
  while (run.Advance(until)) {
    until += step;
    if (signals.Take()) return false;
    status.Update([&] {
      return fmt::format("{}simulated {:.1f} of {:.1f} s, {} events", what, ToSeconds(until),
                         ToSeconds(end), run.events());
    });
  }
  return true;
}

}  // namespace duly
