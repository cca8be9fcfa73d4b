// SPDX-License-Identifier: Apache-2.0
#include "cli/run_flags.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "cli/cli.h"

namespace duly {

void AddRunFlags(CLI::App& parser, RunFlags& flags) {
  parser.add_option("--label", flags.labels, "KEY=VALUE for the report; repeatable")
      ->type_name("TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  parser.add_option("--require", flags.bounds, "Exit 1 unless it holds, such as 'on_time>=99%'")
      ->type_name("BOUND")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  parser.add_option("--json", flags.json_file, "Write the report (- = stdout)")->type_name("FILE");
}

void ReadLabels(const RunFlags& flags, RunFacts& facts, Faults& faults) {
  for (const std::string& label : flags.labels) {
    const std::size_t equal = label.find('=');
    if (equal == 0 || equal == std::string::npos) {
      faults.Add({"--label", 0, 0, fmt::format("'{}' is no label", label), "KEY=VALUE"});
    } else {
      facts.labels.emplace_back(label.substr(0, equal), label.substr(equal + 1));
    }
  }
}

std::vector<RunBound> ReadBounds(const RunFlags& flags, std::span<const std::string> applications,
                                 Faults& faults) {
  std::vector<RunBound> bounds;
  for (const std::string& text : flags.bounds) {
    Result<RunBound> bound = ParseRunBound(text);
    if (!bound) {
      faults.Add({"--require", 0, 0, bound.error().message(), ""});
      continue;
    }
    const bool known = bound->application.empty() ||
                       std::ranges::find(applications, bound->application) != applications.end();
    if (!known && faults.empty()) {
      faults.Add({"--require", 0, 0,
                  fmt::format("there is no application '{}'", bound->application),
                  "one of the run"});
    }
    bounds.push_back(std::move(*bound));
  }
  return bounds;
}

int CheckBounds(std::span<const RunBound> bounds, const RunReport& report) {
  int exit = kExitDone;
  for (const RunBound& bound : bounds) {
    if (const std::optional<std::string> violation = Violation(bound, report)) {
      fmt::print(stderr, "bound {} does not hold: {}\n", bound.text, *violation);
      exit = kExitFailed;
    }
  }
  return exit;
}

Colour ColourOfStdout() {
  return ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr ? Colour::kAnsi
                                                                            : Colour::kNone;
}

}  // namespace duly
