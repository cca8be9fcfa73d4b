// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <span>
#include <vector>

#include "cli/cli.h"
#include "cli/commands.h"

int main(int argc, char** argv) {
  const std::vector<duly::Command> commands = duly::AllCommands();
  const std::span<const char* const> all(argv, static_cast<std::size_t>(argc));
  return duly::RunCli(all.subspan(all.empty() ? 0 : 1), commands, std::cout, std::cerr);
}
