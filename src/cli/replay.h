// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly replay`: takes every decision of an event log again; exits with 0 when all of the whole run
// came out the same.
std::function<int()> AddReplayCommand(CLI::App& parser);

}  // namespace duly
