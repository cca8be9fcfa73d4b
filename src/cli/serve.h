// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly serve`: see docs/serve.md.
std::function<int()> AddServeCommand(CLI::App& parser);

}  // namespace duly
