// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly models list|verify`: see docs/models.md.
std::function<int()> AddModelsCommand(CLI::App& parser);

}  // namespace duly
