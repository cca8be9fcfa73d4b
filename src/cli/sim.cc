// SPDX-License-Identifier: Apache-2.0
#include "cli/sim.h"

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "base/build.h"
#include "cli/cli.h"
#include "cli/json_output.h"
#include "cli/run_flags.h"
#include "cli/scenario_flags.h"
#include "cli/sim_report.h"
#include "cli/stop_signals.h"
#include "telemetry/recorder.h"

namespace duly {
namespace {

struct SimFlags {
  ScenarioFlags scenario;
  std::optional<std::string> policy;
  std::optional<std::uint64_t> seed;
  std::string record_file;
  RunFlags run;
};

Result<std::unique_ptr<Recorder>> StartRecorder(const SimFlags& flags,
                                                const sim::Scenario& scenario,
                                                sim::ScenarioRun& run) {
  EventLogHeader header;
  header.config = run.config(0);
  header.policy = scenario.nodes[0].policy.name;
  for (const PolicyOption& option : scenario.nodes[0].policy.options) {
    header.policy_options.emplace(option.key, option.value);
  }
  header.started = "virtual time 0";
  header.host = scenario.nodes[0].name;
  header.seed = scenario.seed;
  header.build = BuildId();
  return Recorder::Start(flags.record_file, header,
                         {.when_full = RecorderOptions::WhenFull::kWait});
}

int RunSim(const SimFlags& flags) {
  Faults faults;
  sim::Scenario scenario = ReadScenario(flags.scenario, faults);
  if (!faults.empty()) return FailWith(faults.ToStatus());
  if (flags.seed) scenario.seed = *flags.seed;
  if (flags.policy) SetPolicy(*flags.policy, "--policy", scenario);
  RunFacts facts;
  ReadLabels(flags.run, facts, faults);
  std::vector<std::string> names;
  for (const auto& application : scenario.applications) names.push_back(application.load.spec.name);
  const std::vector<RunBound> bounds = ReadBounds(flags.run, names, faults);
  if (!flags.record_file.empty() && scenario.nodes.size() != 1) {
    faults.Add({"--record", 0, 0, fmt::format("the scenario has {} nodes", scenario.nodes.size()),
                "a scenario with one node, because a log is that of one engine"});
  }
  const auto run = CreateRun(scenario, faults);
  if (!faults.empty()) return FailWith(faults.ToStatus());

  std::unique_ptr<Recorder> recorder;
  if (!flags.record_file.empty()) {
    Result<std::unique_ptr<Recorder>> started = StartRecorder(flags, scenario, *run);
    if (!started) return FailWith(started.error());
    recorder = *std::move(started);
    run->Observe(0, *recorder);
  }
  const bool whole = [&] {
    const StopSignals signals;
    StatusLine status;
    return RunToEnd(scenario, *run, signals, status);
  }();
  if (recorder != nullptr) {
    if (const Status closed = recorder->Close(); !closed.ok()) return FailWith(closed);
  }

  SimReport report = MakeSimReport(scenario, *run);
  report.facts.labels = std::move(facts.labels);
  report.interrupted = !whole;
  if (flags.run.json_file != "-") std::cout << ToTable(report, ColourOfStdout()) << std::flush;
  if (!flags.run.json_file.empty()) {
    const Status written = WriteJson(flags.run.json_file, ToJson(report), std::cout);
    if (!written.ok()) return FailWith(written);
  }
  return CheckBounds(bounds, report);
}

}  // namespace

std::function<int()> AddSimCommand(CLI::App& parser) {
  auto flags = std::make_shared<SimFlags>();
  AddScenarioFlags(parser, flags->scenario);
  parser.add_option("--policy", flags->policy, "For every node: NAME or NAME:key=value,...")
      ->type_name("NAME");
  parser.add_option("--seed", flags->seed, "Of all that is left to chance")->type_name("N");
  parser.add_option("--record", flags->record_file, "Write an event log, as serve does")
      ->type_name("FILE");
  AddRunFlags(parser, flags->run);
  parser.footer(
      "What is not given is as the scenario says.\n"
      "Example:\n  duly sim scenarios/quickstart.yaml --load-factor 2 --policy size-or-timeout");
  return [flags] { return RunSim(*flags); };
}

}  // namespace duly
