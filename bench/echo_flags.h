// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

namespace duly {

// What the echo servers are told on the command line.
struct EchoFlags {
  std::uint16_t port = 0;  // 0: any
  int threads = 1;
};

// Parses the command line and runs `serve`; returns the exit status.
template <typename Serve>
int RunEchoServer(int argc, char** argv, const std::string& description, Serve serve) {
  EchoFlags flags;
  CLI::App app(description);
  app.add_option("--port", flags.port, "0: any (0)");
  app.add_option("--threads", flags.threads, "That serve (1)")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  return serve(flags);
}

}  // namespace duly
