// SPDX-License-Identifier: Apache-2.0
#include "cli/plan.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/cli.h"
#include "cli/json_output.h"
#include "cli/plan_input.h"
#include "cli/plan_report.h"

namespace duly {
namespace {

struct PlanFlags {
  std::string cluster_file;
  std::string applications_file;
  std::string algorithm = "duly";
  std::uint64_t tries = placement::Effort().tries;
  std::string json_file;
  std::string report_file;
};

int RunPlan(const PlanFlags& flags, std::ostream& out, std::ostream& err) {
  Faults faults;
  const Result<placement::Algorithm> algorithm = placement::FindAlgorithm(flags.algorithm);
  if (!algorithm) {
    std::string names;
    for (const placement::Algorithm& known : placement::Algorithms()) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
    }
    faults.Add({"--algorithm", 0, 0, fmt::format("there is no algorithm '{}'", flags.algorithm),
                "one of: " + names});
  }
  const PlanInput input = ReadPlanInput(flags.cluster_file, flags.applications_file, faults);
  if (!faults.empty()) {
    err << faults.ToString() << '\n';
    return kExitUsage;
  }

  placement::Placement placement(input.cluster, input.applications,
                                 {algorithm->latency, input.limits});
  const placement::Optimality optimality = algorithm->place(placement, {.tries = flags.tries});
  const PlanReport report = MakePlanReport(placement, *algorithm, optimality);
  if (flags.json_file != "-") out << ToTable(report) << std::flush;
  Status written;
  if (!flags.report_file.empty()) written = WriteText(flags.report_file, ToHtml(report));
  if (written.ok() && !flags.json_file.empty()) {
    written = WriteJson(flags.json_file, ToJson(report), out);
  }
  if (!written.ok()) {
    err << written.message() << '\n';
    return kExitUsage;
  }
  return kExitDone;
}

}  // namespace

std::function<int()> AddPlanCommand(CLI::App& parser) {
  auto flags = std::make_shared<PlanFlags>();
  parser.add_option("cluster", flags->cluster_file, "Nodes, devices and what models need (YAML)")
      ->type_name("FILE")
      ->required();
  parser.add_option("applications", flags->applications_file, "Models, rates and SLOs (YAML)")
      ->type_name("FILE")
      ->required();
  parser.add_option("--algorithm", flags->algorithm, "How to place; listed below (duly)")
      ->type_name("NAME");
  parser
      .add_option("--tries", flags->tries,
                  "Effort of duly and branch-and-bound; the answer follows from it (200000)")
      ->type_name("N");
  parser.add_option("--json", flags->json_file, "Write the plan (- = stdout)")->type_name("FILE");
  parser.add_option("--report", flags->report_file, "Write a page with charts (HTML)")
      ->type_name("FILE");
  std::string footer = "Algorithms:\n";
  for (const placement::Algorithm& algorithm : placement::Algorithms()) {
    footer += fmt::format("  {:<21} {}\n", algorithm.name, algorithm.description);
  }
  parser.footer(footer +
                "Example:\n  duly plan docs/examples/cluster.yaml docs/examples/applications.yaml");
  return [flags] { return RunPlan(*flags, std::cout, std::cerr); };
}

}  // namespace duly
