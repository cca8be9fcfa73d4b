// SPDX-License-Identifier: Apache-2.0
#include "server/trace_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/temp_folder_test_util.h"
#include "server/repository_json.h"

namespace duly {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

class TraceService : public ::testing::Test {
 protected:
  TraceService() {
    TracerOptions options;
    options.start.file = folder_.At("trace.json");
    tracer_ = Tracer::Start(options).value();
  }

  // What the route does with a body.
  Result<Json> Post(std::string_view body, const std::string& model = "") {
    DULY_ASSIGN_OR_RETURN(inference::TraceSettingRequest request, ReadTraceSettingRequest(body));
    request.set_model_name(model);
    DULY_ASSIGN_OR_RETURN(const inference::TraceSettingResponse response,
                          UpdateTraceSettings(request, *tracer_));
    return ToTraceJson(response);
  }

  const TempFolder folder_;
  std::unique_ptr<Tracer> tracer_;
};

TEST_F(TraceService, SaysAllSettingsAsTritonDoes) {
  EXPECT_EQ(Post("").value().dump(),
            R"({"trace_level":["OFF"],"trace_rate":"1000","trace_count":"-1","log_frequency":"0",)"
            R"("trace_file":")" +
                folder_.At("trace.json") + R"(","trace_mode":"triton"})");
}

TEST_F(TraceService, ChangesWhatIsNamedAndClearsWhatIsNull) {
  const Json before = Post("").value();
  const Json now = Post(R"({"trace_level": ["TENSORS", "TIMESTAMPS"], "trace_rate": "5",
                            "trace_count": "7", "log_frequency": "3", "trace_mode": "triton"})",
                        "m")
                       .value();
  EXPECT_EQ(now["trace_level"], Json({"TIMESTAMPS", "TENSORS"}));
  EXPECT_EQ(now["trace_rate"], "5");
  EXPECT_EQ(now["trace_count"], "7");
  EXPECT_EQ(now["log_frequency"], "3");
  EXPECT_EQ(Post("").value(), before);
  EXPECT_EQ(Post("{}", "m").value(), now);
  EXPECT_EQ(Post(R"({"trace_level": "OFF", "trace_count": null, "log_frequency": null})", "m")
                .value()["trace_level"],
            Json({"OFF"}));
  EXPECT_EQ(Post(R"({"trace_level": null, "trace_rate": null})", "m").value(), before);
}

TEST_F(TraceService, ChangesNothingWhenOneSettingIsWrong) {
  const Json before = Post("").value();
  for (const auto& [setting, said] :
       {std::pair(R"("trace_level": ["OFF", "TIMESTAMPS"])", "only one trace level 'OFF'"),
        std::pair(R"("trace_level": ["MAX"])", "OFF, TIMESTAMPS or TENSORS"),
        std::pair(R"("trace_level": [])", "array of strings"),
        std::pair(R"("trace_level": ["TIMESTAMPS", 1])", "array of strings"),
        std::pair(R"("trace_rate": "0")", "'trace_rate': expected one whole number from 1"),
        std::pair(R"("trace_rate": "-1")", "from 1"), std::pair(R"("trace_rate": "1.5")", "from 1"),
        std::pair(R"("trace_rate": ["1", "2"])", "from 1"),
        std::pair(R"("trace_rate": 1)", "expected a string"),
        std::pair(R"("trace_count": "-2")", "from -1"),
        std::pair(R"("log_frequency": "18446744073709551616")", "from 0"),
        std::pair(R"("trace_mode": "opentelemetry")", "opentelemetry"),
        std::pair(R"("trace_file": "x")", "can not be updated through network protocol"),
        std::pair(R"("trace_colour": "red")", "unknown trace setting 'trace_colour'")}) {
    const Result<Json> result = Post(std::string(R"({"trace_count": "3", )") + setting + "}");
    ASSERT_FALSE(result) << setting;
    EXPECT_THAT(result.error().message(), HasSubstr(said)) << setting;
    EXPECT_EQ(Post("").value(), before) << setting;
  }
}

TEST(TraceFlags, AreTritons) {
  TracerOptions options;
  for (const char* flag :
       {"triton,file=/tmp/t.json", "level=TIMESTAMPS", "level=TENSORS", "rate=10", "count=5",
        "triton,log-frequency=50", "mode=triton", "dir=/var/traces"}) {
    EXPECT_TRUE(ReadTraceFlag(flag, options).ok()) << flag;
  }
  EXPECT_EQ(options.folder, "/var/traces");
  EXPECT_EQ(options.start, (TraceSettings{{true, true}, 10, 5, 50, "/tmp/t.json"}));
  for (const char* flag : {"rate", "rate=", "rate=x", "colour=red", "opentelemetry,url=localhost",
                           "mode=opentelemetry", "level=ALL", ""}) {
    EXPECT_FALSE(ReadTraceFlag(flag, options).ok()) << flag;
  }
}

}  // namespace
}  // namespace duly
