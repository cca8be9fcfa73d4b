// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly load`: sends an open-loop mix of applications to a server and reports what became of every
// request.
std::function<int()> AddLoadCommand(CLI::App& parser);

}  // namespace duly
