// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <iosfwd>
#include <span>

#include "base/status.h"

namespace duly {

// What the process returns, for every command.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;  // the work failed, or a bound asked for does not hold
inline constexpr int kExitUsage = 2;   // bad usage, file or configuration; nothing was started

// Whether the flags of a command may also be given as variables. Not where the command says what is
// in a file that was recorded: a variable meant for `serve` must not change that unseen.
enum class Environment { kRead, kIgnored };

// Says on stderr what went wrong; the exit code: kExitUsage for kInvalidArgument, else kExitFailed.
int FailWith(const Status& status);

// One subcommand. A new one is a line in commands.cc.
struct Command {
  const char* name;
  const char* description;  // one line, for the list in --help
  // Declares the flags on the command's parser (its parent knows all commands) and returns what
  // runs once they are parsed: it gives the exit code. Ends the help with an example (footer).
  // With Environment::kRead every long flag also reads the variable DULY_<FLAG>, so an option that
  // is unset after parsing was given by neither: take it from the file, then from the default.
  std::function<int()> (*add)(CLI::App& parser);
  Environment environment = Environment::kRead;
};

// Parses the arguments (without the program's name), sets up the log and runs the command asked
// for. Never throws. Help and version go to out, usage faults to err.
int RunCli(std::span<const char* const> arguments, std::span<const Command> commands,
           std::ostream& out, std::ostream& err);

}  // namespace duly
