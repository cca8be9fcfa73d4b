// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

namespace duly {

std::vector<Command> AllCommands() { return {}; }

}  // namespace duly
