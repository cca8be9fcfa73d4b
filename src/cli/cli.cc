// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <exception>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "base/build.h"
#include "base/log.h"

namespace duly {
namespace {

// Gives every long flag its variable: --http-port reads DULY_HTTP_PORT. Those of subcommands too.
void NameVariables(CLI::App& parser) {
  for (CLI::Option* option : parser.get_options()) {
    if (option->get_lnames().empty() || !option->get_envname().empty()) continue;
    std::string name = option->get_lnames().front();
    if (name == "help" || name == "version") continue;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
      return c == '-' ? '_' : static_cast<char>(std::toupper(c));
    });
    option->envname("DULY_" + name);
  }
  for (CLI::App* child : parser.get_subcommands([](CLI::App*) { return true; })) {
    NameVariables(*child);
  }
}

// The help names neither variables, which follow from the flags by rule, nor checks: each line
// stays one line.
class Formatter final : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    // What checks the value is appended to the type's name.
    const std::string type = option->get_type_name().substr(0, option->get_type_name().find(':'));
    return option->get_type_size() == 0 || type.empty() ? "" : " " + type;
  }
};

int Run(std::span<const char* const> arguments, std::span<const Command> commands,
        std::ostream& out, std::ostream& err) {
  CLI::App app("Serves DNNs on small machines and keeps their deadlines.", "duly");
  app.formatter(std::make_shared<Formatter>());
  app.get_formatter()->column_width(28);
  app.set_version_flag("--version", fmt::format("duly {}", BuildId()), "Print the version");
  app.require_subcommand(1);
  app.fallthrough();
  std::string log_level = "info";
  std::string log_format = "text";
  app.add_option("--log-level", log_level, "trace, debug, info, warning, error or off (info)")
      ->type_name("LEVEL");
  app.add_option("--log-format", log_format, "text or json (text)")
      ->type_name("FORMAT")
      ->check([](const std::string& value) {
        return value == "text" || value == "json" ? "" : "'" + value + "' is not text or json";
      });
  app.footer(
      "Every --flag is also read from the environment as DULY_FLAG; log, replay and completion "
      "read\n"
      "their own from the command line only.\n"
      "Example:\n  duly load --help");
  NameVariables(app);

  std::vector<std::pair<CLI::App*, std::function<int()>>> runners;
  for (const Command& command : commands) {
    CLI::App* parser = app.add_subcommand(command.name, command.description);
    runners.emplace_back(parser, command.add(*parser));
    if (command.environment == Environment::kRead) NameVariables(*parser);
  }

  // CLI11 takes the arguments last first.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> unknown = app.remaining();
    if (app.get_subcommands().empty() && !unknown.empty()) {
      err << "unknown command '" << unknown.front() << "'\nRun with --help for the commands.\n";
      return kExitUsage;
    }
    return app.exit(error, out, err) == 0 ? kExitDone : kExitUsage;
  }
  const Status log =
      SetUpLog(log_level, log_format == "json" ? LogFormat::kJson : LogFormat::kText);
  if (!log.ok()) {
    err << log.message() << '\n';
    return kExitUsage;
  }
  for (const auto& [parser, run] : runners) {
    if (parser->parsed()) return run();
  }
  return kExitUsage;
}

}  // namespace

int FailWith(const Status& status) {
  fmt::print(stderr, "{}\n", status.message());
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailed;
}

int RunCli(std::span<const char* const> arguments, std::span<const Command> commands,
           std::ostream& out, std::ostream& err) {
  try {
    return Run(arguments, commands, out, err);
  } catch (const std::exception& error) {
    err << "duly: " << error.what() << '\n';
    return kExitFailed;
  }
}

}  // namespace duly
