// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "base/build.h"
#include "base/log.h"
#include "cli/flags.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

// A command that exits with 7 and prints the wait it was given, in milliseconds.
std::function<int()> AddWait(CLI::App& parser) {
  auto wait = std::make_shared<std::optional<Duration>>();
  AddDuration(parser, "--wait-time", *wait, "How long to wait");
  return [wait] { return *wait ? static_cast<int>(ToMillis(**wait)) : 7; };
}

std::function<int()> AddThrowing(CLI::App&) {
  return []() -> int { throw std::runtime_error("broken"); };
}

constexpr Command kCommands[] = {{"wait", "Waits", AddWait},
                                 {"look", "Waits too", AddWait, Environment::kIgnored},
                                 {"throw", "Throws", AddThrowing}};

struct Ran {
  int exit = 0;
  std::string out;
  std::string err;
};

Ran RunWith(const std::vector<const char*>& arguments) {
  std::ostringstream out;
  std::ostringstream err;
  // SetUpLog registers its logger by name, once per process.
  spdlog::drop_all();
  Ran ran;
  ran.exit = RunCli(arguments, kCommands, out, err);
  ran.out = out.str();
  ran.err = err.str();
  return ran;
}

TEST(RunCli, RunsTheCommandAndReturnsItsExitCode) { EXPECT_EQ(RunWith({"wait"}).exit, 7); }

TEST(RunCli, PrintsVersionAndHelpOnStdout) {
  const Ran version = RunWith({"--version"});
  EXPECT_EQ(version.exit, kExitDone);
  EXPECT_EQ(version.out, "duly " + std::string(BuildId()) + "\n");
  const Ran help = RunWith({"--help"});
  EXPECT_EQ(help.exit, kExitDone);
  EXPECT_THAT(help.out, HasSubstr("Waits"));
  EXPECT_EQ(help.err, "");
}

TEST(RunCli, BadUsageExitsWithTwoAndSaysWhyOnStderr) {
  for (const std::vector<const char*>& arguments : std::vector<std::vector<const char*>>{
           {}, {"wiat"}, {"wait", "--wiat"}, {"--log-format", "xml", "wait"}}) {
    const Ran ran = RunWith(arguments);
    EXPECT_EQ(ran.exit, kExitUsage);
    EXPECT_EQ(ran.out, "");
    EXPECT_NE(ran.err, "");
  }
  EXPECT_THAT(RunWith({"wiat"}).err, HasSubstr("unknown command 'wiat'"));
  EXPECT_THAT(RunWith({"--log-level", "loud", "wait"}).err, HasSubstr("unknown log level 'loud'"));
}

TEST(RunCli, GlobalFlagsStandBeforeOrBehindTheCommand) {
  EXPECT_EQ(RunWith({"--log-level", "off", "wait"}).exit, 7);
  EXPECT_EQ(RunWith({"wait", "--log-level", "off"}).exit, 7);
}

TEST(RunCli, AnExceptionEndsInExitOne) {
  const Ran ran = RunWith({"throw"});
  EXPECT_EQ(ran.exit, kExitFailed);
  EXPECT_THAT(ran.err, HasSubstr("broken"));
}

TEST(Flags, DurationsNeedAUnit) {
  EXPECT_EQ(RunWith({"wait", "--wait-time", "20ms"}).exit, 20);
  const Ran bare = RunWith({"wait", "--wait-time", "20"});
  EXPECT_EQ(bare.exit, kExitUsage);
  EXPECT_THAT(bare.err, HasSubstr("expected a number with a unit"));
}

TEST(Flags, AFlagGoesBeforeItsVariable) {
  ASSERT_EQ(setenv("DULY_WAIT_TIME", "30ms", 1), 0);
  EXPECT_EQ(RunWith({"wait"}).exit, 30);
  EXPECT_EQ(RunWith({"wait", "--wait-time=20ms"}).exit, 20);
  EXPECT_EQ(RunWith({"look"}).exit, 7) << "which reads none";
  EXPECT_EQ(RunWith({"look", "--wait-time=20ms"}).exit, 20);
  unsetenv("DULY_WAIT_TIME");
  EXPECT_EQ(RunWith({"wait"}).exit, 7);
}

}  // namespace
}  // namespace duly
