// SPDX-License-Identifier: Apache-2.0
#include "server/generate_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace duly {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

ModelSpec Model(std::uint32_t max_rows, std::vector<TensorSpec> inputs) {
  ModelSpec model;
  model.max_rows = max_rows;
  model.inputs = std::move(inputs);
  return model;
}

TEST(GenerateJson, MembersAreInputsAndTheRestAreParameters) {
  const ModelSpec model = Model(8, {{"text_input", DataType::kBytes, {-1, 1}, false},
                                    {"tokens", DataType::kInt32, {-1, -1}, false},
                                    {"top", DataType::kFp32, {-1, 1}, true}});
  EXPECT_EQ(json::parse(InferJsonOf(model, R"({"id": "7", "text_input": "hi \"you\"",
                "tokens": [1, 2, 3], "stream": false, "parameters": {"top": 0.5, "slo_us": 9}})")
                            .value()),
            json::parse(R"({"id": "7", "parameters": {"stream": false, "slo_us": 9}, "inputs": [
                {"name": "text_input", "datatype": "BYTES", "shape": [1,1], "data": ["hi \"you\""]},
                {"name": "tokens", "datatype": "INT32", "shape": [1,3], "data": [1, 2, 3]},
                {"name": "top", "datatype": "FP32", "shape": [1,1], "data": [0.5]}]})"));
}

TEST(GenerateJson, TheShapeFollowsFromTheNumberOfValues) {
  const auto shape = [](Shape spec, std::string_view values) {
    const ModelSpec model = Model(0, {{"x", DataType::kFp32, std::move(spec), false}});
    const auto text = InferJsonOf(model, fmt::format(R"({{"x": {}}})", values));
    return text ? json::parse(*text)["inputs"][0]["shape"].dump() : text.error().message();
  };
  EXPECT_EQ(shape({-1}, "[1, 2]"), "[2]");
  EXPECT_EQ(shape({}, "1"), "[]");
  EXPECT_EQ(shape({-1, 2, -1}, "[1, 2, 3, 4]"), "[2,2,1]");
  EXPECT_EQ(shape({-1}, "[]"), "[0]");
  EXPECT_THAT(shape({-1, 2}, "[1, 2, 3]"), HasSubstr("'x' has 3 values"));
  EXPECT_THAT(shape({2}, "1"), HasSubstr("fits [2]"));
}

TEST(GenerateJson, RefusesWhatIsNoObject) {
  for (const std::string& body :
       {std::string("[]"), std::string("{"), std::string(), std::string(200000, '[')}) {
    EXPECT_EQ(InferJsonOf(Model(0, {}), body).error().code(), StatusCode::kInvalidArgument);
  }
}

TEST(GenerateJson, OutputsAreMembersOfTheAnswer) {
  EXPECT_EQ(GenerateJsonOf(R"({"model_name":"m","model_version":"1","outputs":[
                {"name":"text_output","datatype":"BYTES","shape":[1,1],"data":["a\"b"]},
                {"name":"scores","datatype":"FP32","shape":[1,2],"data":[0.1,2]},
                {"name":"none","datatype":"FP32","shape":[0],"data":[]}]})"),
            R"({"model_name":"m","model_version":"1","text_output":"a\"b","scores":[0.1,2],)"
            R"("none":[]})");
}

}  // namespace
}  // namespace duly
