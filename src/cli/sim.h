// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly sim`: a scenario in virtual time, and the report of `duly load` on it.
std::function<int()> AddSimCommand(CLI::App& parser);

}  // namespace duly
