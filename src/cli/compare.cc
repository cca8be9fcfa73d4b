// SPDX-License-Identifier: Apache-2.0
#include "cli/compare.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "cli/compare_report.h"
#include "cli/json_output.h"
#include "cli/scenario_flags.h"

namespace duly {
namespace {

struct Flags {
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

Comparison::Policy RunAll(const sim::Scenario& scenario, const std::string& policy,
                          const std::vector<std::uint64_t>& seeds, Faults& faults) {
  Comparison::Policy result;
  result.name = policy;
  result.latency.resize(scenario.applications.size() + 1);
  for (const std::uint64_t seed : seeds) {
    sim::Scenario own = scenario;
    own.seed = seed;
    SetPolicy(policy, "--policies", own);
    const auto run = CreateRun(own, faults);
    if (run == nullptr) break;
    run->Advance(Duration::max());
    result.runs.push_back(MakeSimReport(own, *run));
    for (std::size_t a = 0; a < scenario.applications.size(); ++a) {
      result.latency[a].Add(run->tally().sources()[a].latency);
      result.latency.back().Add(run->tally().sources()[a].latency);
    }
  }
  return result;
}

int RunCompare(const Flags& flags) {
  Faults faults;
  const sim::Scenario scenario = ReadScenario(flags.scenario, faults);
  if (!faults.empty()) return FailWith(faults.ToStatus());
  Comparison comparison;
  comparison.scenario = flags.scenario.file;
  comparison.about = scenario.about;
  for (std::uint32_t i = 0; i < flags.seeds; ++i) comparison.seeds.push_back(flags.first_seed + i);
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  for (const std::string& policy : SplitPolicies(flags.policies)) {
    if (terminal) fmt::print(stderr, "\r\033[K{}: {} runs", policy, flags.seeds);
    comparison.policies.push_back(RunAll(scenario, policy, comparison.seeds, faults));
  }
  if (terminal) fmt::print(stderr, "\r\033[K");
  if (!faults.empty()) return FailWith(faults.ToStatus());

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
  auto flags = std::make_shared<Flags>();
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
