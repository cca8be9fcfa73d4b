// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <spdlog/spdlog.h>

#include <iostream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "cli/cli.h"

namespace duly {

struct Ran {
  int exit = 0;
  std::string out;
  std::string err;
};

// For tests: what RunCli does in this process, with what it and the command print.
inline Ran RunCommand(const std::vector<std::string>& arguments,
                      std::span<const Command> commands) {
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  std::ostringstream out;
  std::ostringstream err;
  std::streambuf* const usual_out = std::cout.rdbuf(out.rdbuf());
  std::streambuf* const usual_err = std::cerr.rdbuf(err.rdbuf());
  // SetUpLog registers its logger by name, once per process.
  spdlog::drop_all();
  const int exit = RunCli(pointers, commands, out, err);
  std::cout.rdbuf(usual_out);
  std::cerr.rdbuf(usual_err);
  return {exit, out.str(), err.str()};
}

}  // namespace duly
