// SPDX-License-Identifier: Apache-2.0
#include "server/log_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string_view>

#include "base/log.h"
#include "server/proto_json.h"
#include "server/repository_json.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

class LogService : public ::testing::Test {
 protected:
  LogService() { EXPECT_TRUE(SetUpLog("info", LogFormat::kText).ok()); }
  ~LogService() override { spdlog::set_default_logger(before_); }

  // What the route does with a body.
  static Result<inference::LogSettingsResponse> Post(std::string_view body) {
    DULY_ASSIGN_OR_RETURN(const inference::LogSettingsRequest request,
                          ReadLogSettingsRequest(body));
    return UpdateLogSettings(request);
  }

 private:
  const std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
};

TEST_F(LogService, ChangesWhatIsNamedAndSaysAll) {
  EXPECT_EQ(ToJson(Post("").value())["settings"], nlohmann::ordered_json::parse(R"({
      "log_error": {"bool_param": true}, "log_file": {"string_param": ""},
      "log_format": {"string_param": "default"}, "log_info": {"bool_param": true},
      "log_verbose_level": {"uint32_param": 0}, "log_warning": {"bool_param": true}})"));
  ASSERT_TRUE(Post(R"({"log_info": false, "log_verbose_level": 1, "log_format": "ISO8601",
                       "log_file": ""})"));
  const inference::LogSettingsResponse now = Post("{}").value();
  EXPECT_FALSE(now.settings().at("log_info").bool_param());
  EXPECT_TRUE(now.settings().at("log_error").bool_param());
  EXPECT_EQ(now.settings().at("log_verbose_level").uint32_param(), 1);
  EXPECT_EQ(now.settings().at("log_format").string_param(), "ISO8601");
  EXPECT_TRUE(spdlog::default_logger()->should_log(spdlog::level::debug));
  EXPECT_FALSE(spdlog::default_logger()->should_log(spdlog::level::trace));
}

TEST_F(LogService, ChangesNothingWhenOneSettingIsWrong) {
  for (const auto& [body, said] :
       {std::pair(R"({"log_info": false, "log_file": "/tmp/x"})", "standard error"),
        std::pair(R"({"log_info": false, "log_colour": true})", "unknown log setting 'log_colour'"),
        std::pair(R"({"log_info": false, "log_warning": 1})", "'log_warning': expected true or"),
        std::pair(R"({"log_info": false, "log_format": "csv"})", "expected default or ISO8601"),
        std::pair(R"({"log_info": false, "log_format": true})", "expected default or ISO8601"),
        std::pair(R"({"log_info": false, "log_verbose_level": "1"})", "a whole number"),
        std::pair(R"({"log_info": false, "log_verbose_level": 4294967296})", "a whole number"),
        std::pair(R"({"log_info": false, "log_verbose_level": -1})", "a whole number"),
        std::pair(R"({"log_info": null})", "'log_info': expected"),
        std::pair("[]", "not a JSON object")}) {
    const Result<inference::LogSettingsResponse> result = Post(body);
    ASSERT_FALSE(result) << body;
    EXPECT_EQ(result.error().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(result.error().message(), HasSubstr(said));
    EXPECT_TRUE(Post("")->settings().at("log_info").bool_param()) << body;
  }
}

}  // namespace
}  // namespace duly
