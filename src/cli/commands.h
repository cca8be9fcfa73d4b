// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "cli/cli.h"

namespace duly {

// Every subcommand of the program, in the order of --help.
std::vector<Command> AllCommands();

}  // namespace duly
