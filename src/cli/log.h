// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly log`: reads event logs.
std::function<int()> AddLogCommand(CLI::App& parser);

}  // namespace duly
