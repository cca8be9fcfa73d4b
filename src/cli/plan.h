// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly plan`: which application goes on which device of a cluster, and which constraint refuses
// the others (placement/). A plan that refuses some is an answer, not a failure.
std::function<int()> AddPlanCommand(CLI::App& parser);

}  // namespace duly
