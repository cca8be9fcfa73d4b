// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "base/log_settings.h"

namespace duly {
namespace {

using ::testing::MatchesRegex;

class Log : public ::testing::Test {
 protected:
  ~Log() override { spdlog::set_default_logger(before_); }

  static std::string Written(const std::function<void()>& write) {
    testing::internal::CaptureStderr();
    write();
    spdlog::default_logger()->flush();
    return testing::internal::GetCapturedStderr();
  }

  // The first letter of every level that is written.
  static std::string Levels() {
    const std::string written = Written([] {
      spdlog::trace("<t");
      spdlog::debug("<d");
      spdlog::info("<i");
      spdlog::warn("<w");
      spdlog::error("<e");
      spdlog::critical("<c");
    });
    std::string levels;
    for (std::size_t at = 0; (at = written.find('<', at)) != std::string::npos; ++at) {
      levels += written[at + 1];
    }
    return levels;
  }

  const std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
};

TEST_F(Log, LevelNamesTheLeastThatIsWritten) {
  for (const auto& [level, written] :
       {std::pair("trace", "tdiwec"), std::pair("debug", "diwec"), std::pair("info", "iwec"),
        std::pair("warning", "wec"), std::pair("error", "ec"), std::pair("off", "")}) {
    ASSERT_TRUE(SetUpLog(level, LogFormat::kText).ok());
    EXPECT_EQ(Levels(), written) << level;
  }
  EXPECT_EQ(SetUpLog("loud", LogFormat::kText).code(), StatusCode::kInvalidArgument);
}

TEST_F(Log, EachLevelIsOnOrOffByItself) {
  ASSERT_TRUE(SetUpLog("info", LogFormat::kText).ok());
  LogSettings settings = CurrentLogSettings().value();
  EXPECT_EQ(settings, LogSettings());
  settings = {.error = false, .warning = true, .info = false, .verbose = 1, .full_time = false};
  ASSERT_TRUE(ChangeLogSettings(settings).ok());
  EXPECT_EQ(Levels(), "dw");
  EXPECT_EQ(CurrentLogSettings().value(), settings);
  settings = {.error = true, .warning = false, .info = true, .verbose = 7, .full_time = false};
  ASSERT_TRUE(ChangeLogSettings(settings).ok());
  EXPECT_EQ(Levels(), "tdiec");
  EXPECT_EQ(CurrentLogSettings().value(), settings);
  ASSERT_TRUE(ChangeLogSettings({.error = false, .warning = false, .info = false}).ok());
  EXPECT_EQ(Levels(), "");
}

TEST_F(Log, TimesAreOfTheDayOrFull) {
  const auto write = [] { spdlog::info("x"); };
  ASSERT_TRUE(SetUpLog("info", LogFormat::kText).ok());
  EXPECT_THAT(Written(write), MatchesRegex("[0-9]+:[0-9]+:[0-9.]+ .*info.* x\n"));
  ASSERT_TRUE(ChangeLogSettings({.full_time = true}).ok());
  EXPECT_THAT(Written(write),
              MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9.:]+[+-][0-9:]+ .*info.* x\n"));
}

TEST_F(Log, JsonEscapesMessagesAndHasFullTimesAlways) {
  ASSERT_TRUE(SetUpLog("info", LogFormat::kJson).ok());
  LogSettings settings = CurrentLogSettings().value();
  EXPECT_TRUE(settings.full_time);
  settings.full_time = false;
  EXPECT_EQ(ChangeLogSettings(settings).code(), StatusCode::kInvalidArgument);
  settings = {.info = false, .full_time = true};
  ASSERT_TRUE(ChangeLogSettings(settings).ok());
  EXPECT_THAT(Written([] {
                spdlog::info("not this");
                spdlog::warn("a \"b\"\n");
              }),
              MatchesRegex(R"(\{"time":"[0-9T:.+-]+","level":"warning",)"
                           R"("message":"a \\"b\\"\\u000a"\}.)"));
}

TEST_F(Log, HasNoSettingsBeforeItIsSetUp) {
  EXPECT_EQ(CurrentLogSettings().error().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ChangeLogSettings({}).code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace duly
