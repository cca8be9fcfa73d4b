// SPDX-License-Identifier: Apache-2.0
#include "server/repository_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duly {
namespace {

using ::testing::HasSubstr;

std::string FaultOfLoad(std::string_view body) {
  const auto request = ReadLoadRequest(body);
  return request ? "" : std::string(request.error().message());
}

TEST(RepositoryJson, NothingAsksForNothingSpecial) {
  for (const char* body : {"", " \r\n", "{}"}) {
    EXPECT_FALSE(ReadIndexRequest(body)->ready());
    EXPECT_TRUE(ReadLoadRequest(body)->parameters().empty());
    EXPECT_TRUE(ReadUnloadRequest(body)->parameters().empty());
  }
}

TEST(RepositoryJson, ReadsParametersOfEachType) {
  const auto request = ReadLoadRequest(
      R"({"parameters":{"config":"{}","file:1/model.onnx":"AP8Q","n":-3,"b":true}})");
  ASSERT_TRUE(request) << request.error().message();
  const auto& parameters = request->parameters();
  EXPECT_EQ(parameters.at("config").string_param(), "{}");
  EXPECT_EQ(parameters.at("file:1/model.onnx").bytes_param(), std::string("\0\xFF\x10", 3));
  EXPECT_EQ(parameters.at("n").int64_param(), -3);
  EXPECT_TRUE(parameters.at("b").bool_param());
  EXPECT_TRUE(ReadIndexRequest(R"({"ready":true})")->ready());
}

TEST(RepositoryJson, Base64IsReadStrictly) {
  const auto decoded = [](const std::string& text) -> std::optional<std::string> {
    const auto request = ReadLoadRequest(R"({"parameters":{"file:1/x":")" + text + "\"}}");
    if (!request) return std::nullopt;
    return request->parameters().at("file:1/x").bytes_param();
  };
  EXPECT_EQ(decoded(""), "");
  EXPECT_EQ(decoded("Zg=="), "f");
  EXPECT_EQ(decoded("Zm8="), "fo");
  EXPECT_EQ(decoded("Zm9v"), "foo");
  for (const char* wrong : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg===", "====", "Zm9v!A==", "Z m9",
                            "Zg==Zg==", "=Zg=", "Z==="}) {
    EXPECT_EQ(decoded(wrong), std::nullopt) << wrong;
  }
}

TEST(RepositoryJson, SaysWhatIsWrong) {
  EXPECT_THAT(FaultOfLoad("["), HasSubstr("not a JSON object"));
  EXPECT_THAT(FaultOfLoad("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(FaultOfLoad(R"({"parameters":[]})"), HasSubstr("'parameters': expected an object"));
  EXPECT_THAT(FaultOfLoad(R"({"parameters":{"a":{}}})"), HasSubstr("parameter 'a': expected"));
  EXPECT_THAT(FaultOfLoad(R"({"parameters":{"file:1/x":"?"}})"),
              HasSubstr("parameter 'file:1/x': expected the file in base64"));
  EXPECT_THAT(FaultOfLoad("{\"a\":" + std::string(200, '[') + std::string(200, ']') + "}"),
              HasSubstr("nested deeper than 100"));
  EXPECT_THAT(std::string(ReadIndexRequest(R"({"ready":1})").error().message()),
              HasSubstr("'ready': expected true or false"));
}

}  // namespace
}  // namespace duly
