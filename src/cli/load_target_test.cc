// SPDX-License-Identifier: Apache-2.0
#include "cli/load_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/temp_folder_test_util.h"
#include "cli/load_http.h"
#include "cli/testing/scripted_server.h"

namespace duly {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using workload::ApplicationLoad;
using workload::InputSet;

constexpr std::uint64_t kSeed = 1;

HttpLoadServer Server() {
  HttpEndpoint endpoint;
  endpoint.host = "server:8000";
  endpoint.prefix = "/base";
  return HttpLoadServer(endpoint);
}

ApplicationLoad Load() {
  ApplicationLoad load;
  load.spec.name = "app";
  load.spec.model = "my model";
  return load;
}

// A set of `rows` rows of two bytes each: row i holds i, i.
InputSet Set(std::uint32_t rows) {
  std::vector<std::byte> bytes;
  for (std::uint32_t i = 0; i < rows; ++i) bytes.insert(bytes.end(), 2, static_cast<std::byte>(i));
  InputSet set;
  set.rows = rows;
  set.inputs.push_back({{"x", DataType::kUint8, {2}}, Buffer::CopyOf(bytes), 2});
  return set;
}

// The whole request with this sequence number.
std::string WholeRequest(const LoadTarget& target, std::uint32_t sequence) {
  std::vector<iovec> parts;
  target.Gather(sequence, parts);
  std::string text;
  for (const iovec& part : parts)
    text.append(static_cast<const char*>(part.iov_base), part.iov_len);
  return text;
}

std::string Head(const std::string& request) { return request.substr(0, request.find("\r\n\r\n")); }

json BodyOf(const LoadTarget& target) {
  return json::parse(target.head.substr(target.head.find("\r\n\r\n") + 4));
}

// The bytes behind the JSON.
std::vector<int> Data(const LoadTarget& target, std::uint32_t sequence) {
  const std::string request = WholeRequest(target, sequence);
  std::vector<int> data;
  for (const char c : request.substr(target.head.size())) data.push_back(c);
  return data;
}

TEST(MakeTarget, WritesABinaryInferenceRequest) {
  ApplicationLoad load = Load();
  load.spec.slo = std::chrono::milliseconds(50);
  load.spec.timeout = std::chrono::milliseconds(20);
  load.spec.min_accuracy_pct = 75;
  const std::vector<TensorSpec> model = {{"x", DataType::kUint8, {-1, 2}}};
  const InputSet set = Set(3);
  const Result<LoadTarget> target = MakeTarget(Server(), load, model, &set, Dialect::kDuly, kSeed);
  ASSERT_TRUE(target) << target.error().ToString();
  const std::string head = Head(target->head);
  const json body = BodyOf(*target);
  EXPECT_THAT(head, AllOf(HasSubstr("POST /base/v2/models/my%20model/infer HTTP/1.1\r\n"),
                          HasSubstr("\r\nHost: server:8000\r\n")));
  const std::size_t json_size = target->head.size() - head.size() - 4;
  EXPECT_THAT(head, HasSubstr(fmt::format("Inference-Header-Content-Length: {}", json_size)));
  EXPECT_THAT(head + "\r\n", HasSubstr(fmt::format("\r\nContent-Length: {}\r\n", json_size + 2)));
  EXPECT_EQ(body["inputs"], json::parse(R"([{"name":"x","shape":[1,2],"datatype":"UINT8",
                                             "parameters":{"binary_data_size":2}}])"));
  EXPECT_EQ(body["parameters"],
            json::parse(R"({"binary_data_output":true,"timeout":20000,"application":"app",
                            "slo_us":50000,"min_accuracy":75.0,"duly_report":true})"));
  EXPECT_EQ(target->size(), target->head.size() + 2);
  EXPECT_TRUE(target->wants_report);
}

TEST(MakeTarget, DialectsLeaveParametersOut) {
  ApplicationLoad load = Load();
  load.spec.slo = std::chrono::milliseconds(50);
  load.spec.timeout = std::chrono::milliseconds(20);
  const std::vector<TensorSpec> model = {{"x", DataType::kUint8, {-1, 2}}};
  const LoadTarget anonymous =
      *MakeTarget(Server(), load, model, nullptr, Dialect::kAnonymous, kSeed);
  EXPECT_EQ(BodyOf(anonymous)["parameters"],
            json::parse(R"({"binary_data_output":true,"timeout":20000,"slo_us":50000,
                            "duly_report":true})"));
  const LoadTarget plain = *MakeTarget(Server(), load, model, nullptr, Dialect::kStandard, kSeed);
  EXPECT_EQ(BodyOf(plain)["parameters"],
            json::parse(R"({"binary_data_output":true,"timeout":20000})"));
  EXPECT_FALSE(plain.wants_report);
}

TEST(MakeTarget, TakesRowsInTurn) {
  ApplicationLoad load = Load();
  const std::vector<TensorSpec> model = {{"x", DataType::kUint8, {-1, 2}}};
  const InputSet set = Set(5);
  const LoadTarget one = *MakeTarget(Server(), load, model, &set, Dialect::kDuly, kSeed);
  EXPECT_THAT(Data(one, 0), ElementsAre(0, 0));
  EXPECT_THAT(Data(one, 4), ElementsAre(4, 4));
  EXPECT_THAT(Data(one, 5), ElementsAre(0, 0));

  load.rows = 2;
  const LoadTarget two = *MakeTarget(Server(), load, model, &set, Dialect::kDuly, kSeed);
  EXPECT_EQ(BodyOf(two)["inputs"][0]["shape"], json::parse("[2,2]"));
  EXPECT_THAT(Data(two, 1), ElementsAre(2, 2, 3, 3));
  EXPECT_THAT(Data(two, 2), ElementsAre(0, 0, 1, 1));

  load.rows = 7;
  const LoadTarget seven = *MakeTarget(Server(), load, model, &set, Dialect::kDuly, kSeed);
  EXPECT_THAT(Data(seven, 3), ElementsAre(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 0, 1, 1));
}

TEST(MakeTarget, KnowsWhichRowsAnAnswerIsAbout) {
  ApplicationLoad load = Load();
  const std::vector<TensorSpec> model = {{"x", DataType::kUint8, {-1, 2}}};
  InputSet set = Set(5);
  set.expected.emplace();
  load.rows = 2;
  const LoadTarget two = *MakeTarget(Server(), load, model, &set, Dialect::kDuly, kSeed);
  EXPECT_EQ(two.FirstRow(0), 0U);
  EXPECT_EQ(two.FirstRow(1), 2U);
  EXPECT_EQ(two.FirstRow(2), 0U);
  load.rows = 7;
  const LoadTarget seven = *MakeTarget(Server(), load, model, &set, Dialect::kDuly, kSeed);
  EXPECT_EQ(seven.FirstRow(1), 0U);
}

TEST(MakeTarget, AModelThatDoesNotBatchGetsRowsAsTheyAre) {
  InputSet set = Set(3);
  const std::vector<TensorSpec> model = {{"x", DataType::kUint8, {-1}}};
  ApplicationLoad load = Load();
  const LoadTarget target = *MakeTarget(Server(), load, model, &set, Dialect::kDuly, kSeed);
  EXPECT_EQ(BodyOf(target)["inputs"][0]["shape"], json::parse("[2]"));
  load.rows = 2;
  EXPECT_FALSE(MakeTarget(Server(), load, model, &set, Dialect::kDuly, kSeed));
}

TEST(MakeTarget, MakesInputsUpFromTheMetadata) {
  ApplicationLoad load = Load();
  load.rows = 3;
  const std::vector<TensorSpec> model = {{"a", DataType::kFp32, {-1, 2, -1}},
                                         {"b", DataType::kBytes, {-1, 1}}};
  const LoadTarget target = *MakeTarget(Server(), load, model, nullptr, Dialect::kDuly, kSeed);
  EXPECT_EQ(BodyOf(target)["inputs"], json::parse(R"([{"name":"a","shape":[3,2,1],"datatype":"FP32",
                             "parameters":{"binary_data_size":24}},
                            {"name":"b","shape":[3,1],"datatype":"BYTES",
                             "parameters":{"binary_data_size":12}}])"));
  const std::string data = WholeRequest(target, 9).substr(target.head.size());
  ASSERT_EQ(data.size(), 36U);
  std::vector<float> floats(6);
  std::memcpy(floats.data(), data.data(), 24);
  EXPECT_THAT(floats, Each(AllOf(::testing::Ge(0.0F), ::testing::Lt(1.0F))));
  EXPECT_NE(floats[0], floats[1]);
  EXPECT_EQ(data.substr(24), std::string(12, '\0'));
  const LoadTarget again = *MakeTarget(Server(), load, model, nullptr, Dialect::kDuly, kSeed);
  EXPECT_EQ(WholeRequest(again, 0), WholeRequest(target, 0));
}

TEST(MakeTarget, RefusesWhatDoesNotFit) {
  const auto message = [](const ApplicationLoad& load, const std::vector<TensorSpec>& model,
                          const InputSet* set) {
    const Result<LoadTarget> target = MakeTarget(Server(), load, model, set, Dialect::kDuly, kSeed);
    return target ? std::string("no fault") : target.error().message();
  };
  ApplicationLoad load = Load();
  load.inputs_file = "in.yaml";
  const InputSet set = Set(3);
  EXPECT_THAT(message(load, {{"y", DataType::kUint8, {-1, 2}}}, &set),
              HasSubstr("in.yaml has no input 'y' of type UINT8"));
  EXPECT_THAT(message(load, {{"x", DataType::kFp32, {-1, 2}}}, &set), HasSubstr("of type FP32"));
  EXPECT_THAT(message(load, {{"x", DataType::kUint8, {-1, 3}}}, &set),
              HasSubstr("the model takes [-1,3], a row is [2]"));
  EXPECT_THAT(message(load, {}, &set), HasSubstr("describes 1 inputs: expected the 0"));
  load.rows = 2;
  EXPECT_THAT(message(load, {{"x", DataType::kFp32, {1, 2}}}, nullptr), HasSubstr("2 rows"));
  EXPECT_THAT(message(load, {{"x", DataType::kFp32, {-1, 1LL << 40}}}, nullptr),
              HasSubstr("too large"));
}

TEST(ParseMetadata, ReadsTensorsAndRefusesTheRest) {
  const ModelTensors tensors = *ParseMetadata(
      R"({"name":"m","versions":["1"],"inputs":[{"name":"x","datatype":"FP32","shape":[-1,3]}],
          "outputs":[{"name":"y","datatype":"INT8","shape":[]}]})");
  EXPECT_THAT(tensors.inputs, ElementsAre(TensorSpec{"x", DataType::kFp32, {-1, 3}}));
  EXPECT_THAT(tensors.outputs, ElementsAre(TensorSpec{"y", DataType::kInt8, {}}));
  for (const char* text : {"", "[]", "{}", R"({"inputs":5})", R"({"inputs":[5]})",
                           R"({"inputs":[{"name":"x","datatype":"FP31","shape":[1]}]})",
                           R"({"inputs":[{"name":"x","datatype":"FP32","shape":["1"]}]})",
                           R"({"inputs":[{"name":"x","datatype":"FP32","shape":[-2]}]})",
                           R"({"inputs":[{"name":5,"datatype":"FP32","shape":[1]}]})"}) {
    EXPECT_FALSE(ParseMetadata(text)) << text;
  }
}

TEST(PrepareTargets, ListsEveryApplicationThatCannotBeServed) {
  ScriptedServer server([](const ScriptedServer::Request& request) {
    if (request.target == "/v2/models/known") {
      return ScriptedServer::Answer(
          200, R"({"inputs":[{"name":"x","datatype":"UINT8","shape":[-1,2]}]})");
    }
    return ScriptedServer::Answer(request.target == "/v2/models/broken" ? 500 : 404, "{}");
  });
  const HttpLoadServer http(*FindHttpServer(server.url(), std::chrono::seconds(5)));
  std::vector<ApplicationLoad> loads(3, Load());
  loads[0].spec.model = "known";
  loads[1].spec.model = "unknown";
  loads[2].spec.model = "broken";
  const Result<std::vector<LoadTarget>> targets =
      PrepareTargets(http, loads, Dialect::kDuly, kSeed);
  ASSERT_FALSE(targets);
  EXPECT_THAT(targets.error().message(), AllOf(HasSubstr("the server has no model 'unknown'"),
                                               HasSubstr("/v2/models/broken: HTTP status 500")));
  loads.resize(1);
  EXPECT_EQ(PrepareTargets(http, loads, Dialect::kDuly, kSeed)->size(), 1U);
  TempFolder folder;
  loads[0].inputs_file = folder.Write("in.yaml", "rows: 0\n");
  EXPECT_EQ(PrepareTargets(http, loads, Dialect::kDuly, kSeed).error().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace duly
