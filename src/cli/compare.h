// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly compare`: policies on the same traffic, with confidence intervals.
std::function<int()> AddCompareCommand(CLI::App& parser);

}  // namespace duly
