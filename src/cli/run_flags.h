// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fault.h"
#include "cli/run_bound.h"
#include "cli/run_report.h"

namespace duly {

// What the commands have in common that end with a RunReport.
struct RunFlags {
  std::vector<std::string> labels;
  std::vector<std::string> bounds;
  std::string json_file;
};
void AddRunFlags(CLI::App& parser, RunFlags& flags);

// "KEY=VALUE", each.
void ReadLabels(const RunFlags& flags, RunFacts& facts, Faults& faults);
// `applications`: the names that a bound may give.
std::vector<RunBound> ReadBounds(const RunFlags& flags, std::span<const std::string> applications,
                                 Faults& faults);
// Says on stderr which bounds do not hold; the exit code.
int CheckBounds(std::span<const RunBound> bounds, const RunReport& report);

// Whether a table on stdout is coloured: on a terminal, never with NO_COLOR.
Colour ColourOfStdout();

}  // namespace duly
