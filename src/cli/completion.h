// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly completion bash|zsh|fish`: a script made from the tree of parsers, so that it knows every
// command and flag. Options and arguments whose type name is FILE or DIR complete to paths.
std::function<int()> AddCompletionCommand(CLI::App& parser);

}  // namespace duly
