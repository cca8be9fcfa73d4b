// SPDX-License-Identifier: Apache-2.0
#include "cli/compare.h"

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/cli.h"
#include "cli/compare_report.h"
#include "cli/json_output.h"
#include "cli/scenario_flags.h"

namespace duly {
namespace {

struct CompareFlags {
  ScenarioFlags scenario;
  std::vector<std::string> policies;
  std::uint32_t seeds = 20;
  std::uint64_t first_seed = 1;
  std::string json_file;
  std::string report_file;
};

// Options of a policy hold commas, too: "fifo,edf:target=20ms,x=1" is two policies.
std::vector<std::string> SplitPolicies(const std::vector<std::string>& words) {
  std::vector<std::string> policies;
  for (const std::string& word : words) {
    const bool is_option =
        word.find('=') != std::string::npos && word.find(':') == std::string::npos;
    if (is_option && !policies.empty()) {
      policies.back() += ',' + word;
    } else {
      policies.push_back(word);
    }
  }
  return policies;
}

struct OneRun {
  SimReport report;
  std::vector<sim::SourceTally> applications;
};

// Nothing when it was stopped, or cannot be made.
std::optional<OneRun> Run(const sim::Scenario& scenario, const std::string& policy,
                          std::uint64_t seed, const StopSignals& signals, StatusLine& status,
                          std::string_view what, Faults& faults) {
  sim::Scenario own = scenario;
  own.seed = seed;
  SetPolicy(policy, "--policies", own);
  const auto run = CreateRun(own, faults);
  if (run == nullptr || !RunToEnd(own, *run, signals, status, what)) return std::nullopt;
  const std::span<const sim::SourceTally> tallies = run->tally().sources();
  return OneRun{MakeSimReport(own, *run), {tallies.begin(), tallies.end()}};
}

void Add(OneRun run, Comparison::Policy& policy) {
  policy.runs.push_back(std::move(run.report));
  const std::size_t applications = run.applications.size();
  policy.latency.resize(applications + 1);
  policy.over_time.resize(applications + 1);
  for (std::size_t a = 0; a < applications; ++a) {
    const sim::SourceTally& tally = run.applications[a];
    for (const std::size_t part : {a, applications}) {
      policy.latency[part].Add(tally.latency);
      for (std::size_t t = 0; t < tally.over_time.size(); ++t) {
        policy.over_time[part][t].sent += tally.over_time[t].sent;
        policy.over_time[part][t].on_time += tally.over_time[t].on_time;
      }
    }
  }
}

// Seed by seed, so that what there is when it is stopped is paired.
void RunAll(const sim::Scenario& scenario, std::uint32_t seeds, std::uint64_t first_seed,
            Comparison& comparison, Faults& faults) {
  const StopSignals signals;
  StatusLine status;
  for (std::uint32_t i = 0; i < seeds; ++i) {
    std::vector<OneRun> runs;
    bool stopped = false;
    for (const Comparison::Policy& policy : comparison.policies) {
      std::optional<OneRun> run =
          Run(scenario, policy.name, first_seed + i, signals, status,
              fmt::format("{}, run {} of {}: ", policy.name, i + 1, seeds), faults);
      if (run) runs.push_back(*std::move(run));
      stopped = !run && faults.empty();
      if (stopped) break;
    }
    comparison.interrupted = stopped;
    if (stopped || !faults.empty()) return;
    for (std::size_t p = 0; p < runs.size(); ++p) Add(std::move(runs[p]), comparison.policies[p]);
    comparison.seeds.push_back(first_seed + i);
  }
}

int RunCompare(const CompareFlags& flags) {
  Faults faults;
  const sim::Scenario scenario = ReadScenario(flags.scenario, faults);
  if (!faults.empty()) return FailWith(faults.ToStatus());
  Comparison comparison;
  comparison.scenario = flags.scenario.file;
  comparison.about = scenario.about;
  for (const std::string& name : SplitPolicies(flags.policies)) {
    comparison.policies.emplace_back().name = name;
  }
  RunAll(scenario, flags.seeds, flags.first_seed, comparison, faults);
  if (!faults.empty()) return FailWith(faults.ToStatus());
  if (comparison.seeds.empty()) {
    return FailWith(Status(StatusCode::kCancelled, "stopped before every policy had a run"));
  }

  if (flags.json_file != "-") std::cout << ToTable(comparison) << std::flush;
  if (!flags.report_file.empty()) {
    const Status written = WriteText(flags.report_file, ToHtml(comparison));
    if (!written.ok()) return FailWith(written);
  }
  if (!flags.json_file.empty()) {
    const Status written = WriteJson(flags.json_file, ToJson(comparison), std::cout);
    if (!written.ok()) return FailWith(written);
  }
  return kExitDone;
}

}  // namespace

std::function<int()> AddCompareCommand(CLI::App& parser) {
  auto flags = std::make_shared<CompareFlags>();
  AddScenarioFlags(parser, flags->scenario);
  parser.add_option("--policies", flags->policies, "Two or more; the first is the base")
      ->type_name("A,B,...")
      ->required()
      ->delimiter(',');
  parser.add_option("--seeds", flags->seeds, "Runs of each policy (20)")
      ->type_name("N")
      ->check(CLI::Range(1U, 100'000U, ""));
  parser.add_option("--first-seed", flags->first_seed, "Of the runs; the next ones follow (1)")
      ->type_name("N");
  parser.add_option("--report", flags->report_file, "Write a page with plots (HTML)")
      ->type_name("FILE");
  parser.add_option("--json", flags->json_file, "Write the figures (- = stdout)")
      ->type_name("FILE");
  parser.footer(
      "Runs with the same seed meet the same arrivals and service noise under every policy.\n"
      "Example:\n  duly compare scenarios/quickstart.yaml --load-factor 2 \\\n"
      "    --policies edf,size-or-timeout,fifo --seeds 20 --report compare.html");
  return [flags] { return RunCompare(*flags); };
}

}  // namespace duly
