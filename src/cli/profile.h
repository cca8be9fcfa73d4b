// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly profile`: measures every variant and batch size on this machine.
std::function<int()> AddProfileCommand(CLI::App& parser);

}  // namespace duly
