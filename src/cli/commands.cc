// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include "cli/log.h"
#include "cli/replay.h"

namespace duly {

std::vector<Command> AllCommands() {
  return {
      {"log", "Read event logs", AddLogCommand},
      {"replay", "Take every decision of an event log again, and compare", AddReplayCommand},
  };
}

}  // namespace duly
