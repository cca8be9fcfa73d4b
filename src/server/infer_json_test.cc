// SPDX-License-Identifier: Apache-2.0
#include "server/infer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "server/fake_node_test_util.h"
#include "server/outcome_codes.h"

namespace duly {
namespace {

using nlohmann::json;
using std::string_literals::operator""s;
using ::testing::HasSubstr;

Buffer PaddedCopy(std::string_view text) {
  auto [buffer, bytes] = Buffer::Allocate(text.size() + InferDecoder::kPadding);
  std::memcpy(bytes.data(), text.data(), text.size());
  // What follows must never matter.
  std::memset(bytes.data() + text.size(), '1', InferDecoder::kPadding);
  return buffer.Slice(0, text.size());
}

std::vector<ModelSpec> Models() {
  std::vector<ModelSpec> models = TestModels();
  ModelSpec optional = EchoModel("optional", 0, {{DataType::kFp32, {2}}, {DataType::kFp32, {2}}});
  optional.inputs[1].optional = true;
  models.push_back(optional);
  models.push_back(VariantsModel());
  return models;
}

class InferJson : public ::testing::Test {
 protected:
  Result<InferCall> DecodeBody(std::string_view model, std::string_view body,
                               std::size_t json_size) {
    return decoder_.Decode(node_.FindModel(model, -1), PaddedCopy(body), json_size);
  }
  Result<InferCall> Decode(std::string_view model, std::string_view body) {
    return DecodeBody(model, body, body.size());
  }
  Status Failure(std::string_view model, std::string_view body) {
    Result<InferCall> call = Decode(model, body);
    return call ? Status() : call.error();
  }
  // Through the decoder, a node that copies, and the encoder.
  std::string Echo(std::string_view model, std::string_view body) {
    Result<InferCall> call = Decode(model, body);
    if (!call) return call.error().ToString();
    const InferResponse response = FakeNode::Echo(call->request);
    std::string out;
    std::vector<std::span<const std::byte>> binary;
    const Status status = EncodeInferReply(call->format, response, out, binary);
    if (!status.ok()) return status.ToString();
    for (const auto& part : binary) {
      out.append(reinterpret_cast<const char*>(part.data()), part.size());
    }
    return out;
  }

  FakeNode node_{Models()};
  InferDecoder decoder_;
};

std::string Input(std::string_view type, std::string_view shape, std::string_view data) {
  return fmt::format(R"({{"inputs":[{{"name":"in0","shape":{},"datatype":"{}","data":{}}}]}})",
                     shape, type, data);
}

template <typename T>
std::vector<T> Values(const Tensor& tensor) {
  std::vector<T> values(tensor.data.size() / sizeof(T));
  std::memcpy(values.data(), tensor.data.data().data(), tensor.data.size());
  return values;
}

TEST_F(InferJson, ReadsFlatAndNestedData) {
  for (const std::string_view data :
       {"[1,2.5,-3e2,4]", "[[1,2.5],[-3e2,4]]", "[[[1],[2.5]],-3e2,4]"}) {
    Result<InferCall> call = Decode("copy", Input("FP32", "[4]", data));
    ASSERT_TRUE(call) << call.error().ToString();
    EXPECT_EQ(Values<float>(call->request.inputs[0]), (std::vector<float>{1, 2.5, -300, 4}));
    EXPECT_EQ(call->request.inputs[0].shape, Shape{4});
  }
}

TEST_F(InferJson, MembersComeInAnyOrder) {
  Result<InferCall> call = Decode("copy", R"({"parameters":{"x":1},
      "inputs":[{"data":[1,2],"parameters":{"content":"a\"b"},"shape":[2],"name":"in0",
                 "datatype":"FP32","extra":{"a":[1,"\u00e9",null,true,{}]}}],"id":"7"})");
  ASSERT_TRUE(call) << call.error().ToString();
  EXPECT_EQ(Values<float>(call->request.inputs[0]), (std::vector<float>{1, 2}));
  EXPECT_EQ(call->format.id, "7");
}

TEST_F(InferJson, AnswersEveryTypeInJson) {
  const std::vector<std::tuple<std::string, std::string>> table{
      {"BOOL", "[true,false]"},
      {"UINT8", "[0,255]"},
      {"UINT16", "[0,65535]"},
      {"UINT32", "[0,4294967295]"},
      {"UINT64", "[0,18446744073709551615]"},
      {"INT8", "[-128,127]"},
      {"INT16", "[-32768,32767]"},
      {"INT32", "[-2147483648,2147483647]"},
      {"INT64", "[-9223372036854775808,9223372036854775807]"},
      {"FP32", "[0.1,-3.4028235e+38]"},
      {"FP64", "[0.1,-1.7976931348623157e+308]"},
      {"BYTES", R"(["","a\"\\\u0000é€"])"},
  };
  for (const auto& [type, data] : table) {
    const std::string answer = Echo("copy_" + type, Input(type, "[2]", data));
    ASSERT_TRUE(json::accept(answer)) << type << ": " << answer;
    const json document = json::parse(answer);
    EXPECT_EQ(document["model_name"], "copy_" + type);
    EXPECT_EQ(document["model_version"], "1");
    EXPECT_EQ(document["outputs"][0]["name"], "out0");
    EXPECT_EQ(document["outputs"][0]["datatype"], type);
    EXPECT_EQ(document["outputs"][0]["shape"], json::parse("[2]"));
    EXPECT_FALSE(document["outputs"][0].contains("parameters"));
    EXPECT_EQ(document["outputs"][0]["data"], json::parse(data)) << type;
  }
}

TEST_F(InferJson, IntegersOutsideTheirTypeAreRefused) {
  const std::vector<std::tuple<std::string, std::string>> table{
      {"INT8", "128"},
      {"INT8", "-129"},
      {"UINT8", "256"},
      {"UINT8", "-1"},
      {"INT16", "32768"},
      {"UINT16", "65536"},
      {"INT32", "2147483648"},
      {"UINT32", "4294967296"},
      {"UINT32", "-1"},
      {"INT64", "9223372036854775808"},
      {"UINT64", "18446744073709551616"},
      {"UINT64", "-1"},
      {"INT32", "1.5"},
      {"INT32", "1e2"},
      {"INT32", "true"},
      {"INT32", "\"1\""},
      {"INT32", "null"},
      {"BOOL", "1"},
      {"BOOL", "\"true\""},
      {"FP32", "1e39"},
      {"FP64", "1e309"},
      {"FP32", "true"},
      {"FP32", "\"1\""},
      {"BYTES", "1"},
  };
  for (const auto& [type, value] : table) {
    const Status status = Failure("copy_" + type, Input(type, "[2]",
                                                        fmt::format("[{},{}]",
                                                                    type == "BOOL"    ? "true"
                                                                    : type == "BYTES" ? "\"\""
                                                                                      : "0",
                                                                    value)));
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << type << ' ' << value;
    EXPECT_THAT(status.message(), HasSubstr("input 'in0'")) << type << ' ' << value;
    EXPECT_THAT(status.message(), HasSubstr("expected")) << type << ' ' << value;
  }
  EXPECT_EQ(Failure("copy_INT8", Input("INT8", "[2]", "[0,128]")).message(),
            "input 'in0': element 1 of the data: expected a whole number from -128 to 127");
}

TEST_F(InferJson, SixteenBitFloatsHaveNoJsonForm) {
  for (const std::string type : {"FP16", "BF16"}) {
    EXPECT_THAT(Failure("copy_" + type, Input(type, "[1]", "[1]")).message(), HasSubstr("binary"));
    const std::string head = fmt::format(
        R"({{"inputs":[{{"name":"in0","shape":[1],"datatype":"{}","parameters":{{"binary_data_size":2}}}}]}})",
        type);
    Result<InferCall> call = DecodeBody("copy_" + type, head + "ab", head.size());
    ASSERT_FALSE(call);
    EXPECT_THAT(call.error().message(), HasSubstr("output 'out0'"));
  }
}

struct BadBody {
  std::string_view what;
  std::string body;
  std::string_view says;
};

std::string Nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') + "1" +
         std::string(static_cast<std::size_t>(depth), ']');
}

TEST_F(InferJson, BadRequestsAreRefusedWithTheirPlace) {
  const std::string good =
      R"({"name":"in0","shape":[1,3,2,2],"datatype":"FP32","data":[1,2,3,4,5,6,7,8,9,10,11,12]})";
  const std::vector<BadBody> table{
      {"empty object", "{}", "'inputs' is missing"},
      {"not an object", "[1]", "not a JSON object"},
      {"a scalar", "1", "not"},
      {"cut off", R"({"inputs":[)", "not valid JSON"},
      {"cut off in a string", R"({"inputs":[{"name":"in)", "not valid JSON"},
      {"no colon", R"({"inputs" [] })", "not valid JSON"},
      {"trailing comma", R"({"inputs":[],})", "not valid JSON"},
      {"two documents", R"({"inputs":[]}{})", "followed by something else"},
      {"trailing text", R"({"inputs":[]} x)", "JSON"},
      {"not UTF-8", "{\"inputs\":[{\"name\":\"\xFF\"}]}", "not valid JSON"},
      {"bad ignored number", R"({"x":01,"inputs":[]})", "not valid JSON"},
      {"bad ignored word", R"({"x":nulp,"inputs":[]})", "not valid JSON"},
      {"inputs not an array", R"({"inputs":{}})", "'inputs': expected an array"},
      {"an input not an object", R"({"inputs":[1]})", "'inputs[0]': expected an object"},
      {"no name", R"({"inputs":[{"shape":[1],"datatype":"FP32","data":[1]}]})",
       "'name' is missing"},
      {"no datatype", R"({"inputs":[{"name":"in0","shape":[1],"data":[1]}]})",
       "'datatype' is missing"},
      {"no shape", R"({"inputs":[{"name":"in0","datatype":"FP32","data":[1]}]})",
       "'shape' is missing"},
      {"no data", R"({"inputs":[{"name":"in0","datatype":"FP32","shape":[1,3,2,2]}]})",
       "has no data"},
      {"name not a string", R"({"inputs":[{"name":1}]})", "'name': expected a string"},
      {"shape not an array", R"({"inputs":[{"name":"in0","shape":1}]})",
       "'shape': expected an array"},
      {"shape of strings", R"({"inputs":[{"name":"in0","shape":["1"]}]})", "whole numbers"},
      {"shape of fractions", R"({"inputs":[{"name":"in0","shape":[1.5]}]})", "whole numbers"},
      {"shape beyond 64 bits", R"({"inputs":[{"name":"in0","shape":[18446744073709551616]}]})",
       "whole numbers"},
      {"a shape without end",
       fmt::format(R"({{"inputs":[{{"name":"in0","shape":[{}1]}}]}})",
                   [] {
                     std::string s;
                     for (int i = 0; i < 1000; ++i) s += "1,";
                     return s;
                   }()),
       "at most 64"},
      {"unknown input", R"({"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]})",
       "input 'x' is not one of model 'image': expected in0"},
      {"input twice", fmt::format(R"({{"inputs":[{},{}]}})", good, good),
       "input 'in0' is given twice"},
      {"inputs twice", fmt::format(R"({{"inputs":[{}],"inputs":[]}})", good),
       "'inputs' is given twice"},
      {"data twice",
       R"({"inputs":[{"name":"in0","shape":[1,3,2,2],"datatype":"FP32","data":[1,2,3,4,5,6,7,8,9,10,11,12],"data":[1]}]})",
       "'data' is given twice"},
      {"shape twice", R"({"inputs":[{"name":"in0","shape":[1],"shape":[1]}]})",
       "'shape' is given twice"},
      {"wrong datatype", Input("INT32", "[1,3,2,2]", "[1]"),
       "input 'in0': datatype 'INT32': expected FP32"},
      {"unknown datatype", Input("FP8", "[1,3,2,2]", "[1]"), "datatype 'FP8': expected FP32"},
      {"wrong rank", Input("FP32", "[2,28]", "[1]"),
       "input 'in0': shape [2,28]: expected [-1,3,2,2]"},
      {"wrong dimension", Input("FP32", "[1,3,2,3]", "[1]"),
       "shape [1,3,2,3]: expected [-1,3,2,2]"},
      {"negative dimension", Input("FP32", "[-1,3,2,2]", "[1]"), "shape [-1,3,2,2]"},
      {"smallest dimension", Input("FP32", "[-9223372036854775808,3,2,2]", "[1]"),
       "shape [-9223372036854775808"},
      {"no rows", Input("FP32", "[0,3,2,2]", "[]"), "expected 1 to 8 rows"},
      {"too many rows", Input("FP32", "[9,3,2,2]", "[1]"), "expected 1 to 8 rows"},
      {"2^60+1 rows", Input("FP32", "[1152921504606846977,3,2,2]", "[1]"), "expected 1 to 8 rows"},
      {"too few elements", Input("FP32", "[1,3,2,2]", "[1,2,3]"), "fewer elements than the 12"},
      {"too many elements", Input("FP32", "[1,3,2,2]", "[1,2,3,4,5,6,7,8,9,10,11,12,13]"),
       "more elements than the 12"},
      {"data not an array", Input("FP32", "[1,3,2,2]", "1"), "'data': expected an array"},
      {"broken data", Input("FP32", "[1,3,2,2]", "[1,2,,3]"), "not valid JSON"},
      {"no comma in data", Input("FP32", "[1,3,2,2]", "[1 2]"), "not valid JSON"},
      {"NaN", Input("FP32", "[1,3,2,2]", "[NaN]"), ""},
      {"Infinity", Input("FP32", "[1,3,2,2]", "[Infinity]"), ""},
      {"minus Infinity", Input("FP32", "[1,3,2,2]", "[-Infinity]"), ""},
      {"data and binary",
       R"({"inputs":[{"name":"in0","shape":[1,3,2,2],"datatype":"FP32","parameters":{"binary_data_size":0},"data":[1,2,3,4,5,6,7,8,9,10,11,12]}]})",
       "both 'data' and 'binary_data_size'"},
      {"shared memory",
       R"({"inputs":[{"name":"in0","shape":[1,3,2,2],"datatype":"FP32","parameters":{"shared_memory_region":"r"}}]})",
       "input 'in0': shared memory is not allowed on this server"},
      {"unknown output", fmt::format(R"({{"inputs":[{}],"outputs":[{{"name":"y"}}]}})", good),
       "output 'y' is not one of model 'image': expected out0"},
      {"output twice",
       fmt::format(R"({{"inputs":[{}],"outputs":[{{"name":"out0"}},{{"name":"out0"}}]}})", good),
       "output 'out0' is asked for twice"},
      {"output without name", fmt::format(R"({{"inputs":[{}],"outputs":[{{}}]}})", good),
       "'outputs[0]': 'name' is missing"},
      {"outputs not an array", fmt::format(R"({{"inputs":[{}],"outputs":1}})", good),
       "'outputs': expected an array"},
      {"no classes",
       fmt::format(
           R"({{"inputs":[{}],"outputs":[{{"name":"out0","parameters":{{"classification":0}}}}]}})",
           good),
       "output 'out0': parameter 'classification': expected a whole number, 1 or more"},
      {"fewer classes than none",
       fmt::format(
           R"({{"inputs":[{}],"outputs":[{{"name":"out0","parameters":{{"classification":-1}}}}]}})",
           good),
       "expected a whole number, 1 or more"},
      {"classes by name",
       fmt::format(
           R"({{"inputs":[{}],"outputs":[{{"name":"out0","parameters":{{"classification":"3"}}}}]}})",
           good),
       "expected a whole number, 1 or more"},
      {"half a class",
       fmt::format(
           R"({{"inputs":[{}],"outputs":[{{"parameters":{{"classification":1.5}},"name":"out0"}}]}})",
           good),
       "expected a whole number, 1 or more"},
      {"id not a string", fmt::format(R"({{"inputs":[{}],"id":1}})", good),
       "'id': expected a string"},
      {"parameters not an object", fmt::format(R"({{"inputs":[{}],"parameters":[]}})", good),
       "'parameters': expected an object"},
      {"deep data", Input("FP32", "[1,3,2,2]", Nested(98)), "nested more than 100 deep"},
      {"very deep data", Input("FP32", "[1,3,2,2]", Nested(100000)), "nested more than 100 deep"},
      {"deep ignored value", fmt::format(R"({{"x":{},"inputs":[]}})", Nested(100)),
       "nested more than 100 deep"},
      {"deep parameter",
       fmt::format(R"({{"inputs":[{}],"parameters":{{"x":{}}}}})", good, Nested(99)),
       "nested more than 100 deep"},
  };
  for (const BadBody& bad : table) {
    const Status status = Failure("image", bad.body);
    EXPECT_FALSE(status.ok()) << bad.what;
    const std::uint16_t http = HttpCode(status.code());
    EXPECT_TRUE(http == 400 || http == 501) << bad.what << ": " << http;
    EXPECT_THAT(status.message(), HasSubstr(std::string(bad.says))) << bad.what;
    EXPECT_LT(status.message().size(), 2000U) << bad.what;
  }
  EXPECT_EQ(Failure("image", fmt::format(R"({{"inputs":[{}]}})", good)), Status());
  EXPECT_EQ(Failure("image", fmt::format(R"({{"inputs":[{}],"x":{}}})", good, Nested(99))),
            Status());
}

TEST_F(InferJson, ShapesWhoseProductOverflowsAreRefused) {
  const FakeNode node({EchoModel("free", 0, {{DataType::kFp32, {-1, -1, -1}}}),
                       EchoModel("text", 0, {{DataType::kBytes, {-1, -1}}})});
  const auto failure = [&](std::string_view model, const std::string& body) {
    Result<InferCall> call =
        decoder_.Decode(node.FindModel(model, -1), PaddedCopy(body), body.size());
    return call ? Status() : call.error();
  };
  for (const std::string_view shape :
       {"[4294967296,4294967296,1]", "[4611686018427387904,1,1]", "[0,4611686018427387904,4]",
        "[9223372036854775807,9223372036854775807,9223372036854775807]"}) {
    const Status status = failure("free", Input("FP32", shape, "[]"));
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << shape;
    EXPECT_THAT(status.message(), HasSubstr("too many elements")) << shape;
  }
  // Large but countable: refused before memory is taken for it.
  EXPECT_THAT(failure("free", Input("FP32", "[1,1,1099511627776]", "[1]")).message(),
              HasSubstr("fewer elements"));
  EXPECT_THAT(failure("text", Input("BYTES", "[1,1099511627776]", "[\"\"]")).message(),
              HasSubstr("fewer elements"));
  EXPECT_EQ(failure("free", Input("FP32", "[0,7,3]", "[]")), Status());
}

TEST_F(InferJson, MissingInputsAreNamedAndOptionalOnesMayBeAbsent) {
  const std::string first =
      R"({"inputs":[{"name":"in0","shape":[2],"datatype":"FP32","data":[1,2]}]})";
  EXPECT_EQ(Failure("optional", first), Status());
  EXPECT_EQ(Decode("optional", first)->request.inputs.size(), 1U);
  const std::string second =
      R"({"inputs":[{"name":"in1","shape":[2],"datatype":"FP32","data":[1,2]}]})";
  EXPECT_EQ(Failure("optional", second).message(), "input 'in0' of model 'optional' is missing");
  EXPECT_EQ(Failure("optional", R"({"inputs":[]})").message(),
            "input 'in0' of model 'optional' is missing");
}

TEST_F(InferJson, InputsArriveInTheModelsOrderAndAgreeOnTheirRows) {
  const auto two = [](int rows0, int rows1) {
    return fmt::format(
        R"({{"inputs":[{{"name":"in1","shape":[{1},2],"datatype":"INT32","data":[{3}]}},
                       {{"name":"in0","shape":[{0},2],"datatype":"FP32","data":[{2}]}}]}})",
        rows0, rows1, rows0 == 2 ? "1,2,3,4" : "1,2", rows1 == 2 ? "5,6,7,8" : "5,6");
  };
  Result<InferCall> call = Decode("two", two(2, 2));
  ASSERT_TRUE(call) << call.error().ToString();
  EXPECT_EQ(call->request.inputs[0].name, "in0");
  EXPECT_EQ(call->request.inputs[1].name, "in1");
  EXPECT_EQ(call->request.rows, 2U);
  EXPECT_EQ(Values<std::int32_t>(call->request.inputs[1]), (std::vector<std::int32_t>{5, 6, 7, 8}));
  EXPECT_THAT(Failure("two", two(1, 2)).message(), HasSubstr("expected 2 rows"));
}

TEST_F(InferJson, BinaryTensorsAreSlicesOfTheBody) {
  const std::string text =
      R"({"inputs":[{"name":"in0","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},
                    {"name":"in1","shape":[1,2],"datatype":"INT32","parameters":{"binary_data_size":8}}],
          "parameters":{"binary_data_output":true}})";
  const float floats[] = {1.5, -2};
  const std::int32_t ints[] = {7, -8};
  for (const std::size_t skew : {0U, 1U}) {
    const std::string head = text + std::string((64 - text.size() % 64) % 64 + skew, ' ');
    std::string data = head;
    data.append(reinterpret_cast<const char*>(floats), 8);
    data.append(reinterpret_cast<const char*>(ints), 8);
    const Buffer body = PaddedCopy(data);
    Result<InferCall> call = decoder_.Decode(node_.FindModel("two", -1), body, head.size());
    ASSERT_TRUE(call) << call.error().ToString();
    const std::byte* first = call->request.inputs[0].data.data().data();
    EXPECT_EQ(first == body.data().data() + head.size(), skew == 0);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 4, 0U);
    EXPECT_EQ(Values<float>(call->request.inputs[0]), (std::vector<float>{1.5, -2}));
    EXPECT_EQ(Values<std::int32_t>(call->request.inputs[1]), (std::vector<std::int32_t>{7, -8}));
    EXPECT_EQ(call->format.binary, (std::vector<bool>{true, true}));
  }
}

TEST_F(InferJson, BinarySizesMustAgreeWithShapesAndBody) {
  const auto status = [&](std::string_view model, std::string_view type, std::string_view shape,
                          std::string_view size, std::string data) {
    const std::string head = fmt::format(
        R"({{"inputs":[{{"name":"in0","shape":{},"datatype":"{}","parameters":{{"binary_data_size":{}}}}}],"parameters":{{"binary_data_output":true}}}})",
        shape, type, size);
    Result<InferCall> call = DecodeBody(model, head + data, head.size());
    return call ? Status() : call.error();
  };
  const std::string eight(8, '\0');
  EXPECT_EQ(status("copy", "FP32", "[2]", "8", eight), Status());
  EXPECT_EQ(status("copy", "FP32", "[0]", "0", ""), Status());
  EXPECT_EQ(status("copy_BYTES", "BYTES", "[2]", "9", "\1\0\0\0a\0\0\0\0"s), Status());
  EXPECT_EQ(status("copy_BOOL", "BOOL", "[2]", "2", "\0\1"s), Status());
  const std::vector<std::tuple<std::string_view, Status>> table{
      {"only 8 bytes are left", status("copy", "FP32", "[3]", "12", eight)},
      {"only 8 bytes are left", status("copy", "FP32", "[3]", "9223372036854775807", eight)},
      {"left over", status("copy", "FP32", "[1]", "4", eight)},
      {"8 bytes of data: expected 12", status("copy", "FP32", "[3]", "8", eight)},
      {"whole number of bytes", status("copy", "FP32", "[2]", "-8", eight)},
      {"whole number of bytes", status("copy", "FP32", "[2]", "8.0", eight)},
      {"whole number of bytes", status("copy", "FP32", "[2]", "\"8\"", eight)},
      {"whole number of bytes", status("copy", "FP32", "[2]", "18446744073709551615", eight)},
      {"length of element 0", status("copy_BYTES", "BYTES", "[1]", "5", "\2\0\0\0a"s)},
      {"length of element 0", status("copy_BYTES", "BYTES", "[1]", "4", "\xff\xff\xff\xff")},
      {"length of element 1", status("copy_BYTES", "BYTES", "[2]", "7", "\1\0\0\0a\0\0"s)},
      {"holds 1 elements: expected 2", status("copy_BYTES", "BYTES", "[2]", "5", "\1\0\0\0a"s)},
      {"holds 2 elements: expected 1", status("copy_BYTES", "BYTES", "[1]", "8", eight)},
      {"a BOOL byte is 2", status("copy_BOOL", "BOOL", "[2]", "2", "\1\2"s)},
  };
  for (const auto& [says, got] : table) {
    EXPECT_EQ(got.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(got.message(), HasSubstr(std::string(says)));
  }
  Result<InferCall> call = DecodeBody("copy", "{}", 3);
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error().message(), "Inference-Header-Content-Length 3: the body has only 2 bytes");
}

TEST_F(InferJson, ListedOutputsDecideOverTheRequestsDefault) {
  const auto binary = [&](std::string_view rest) {
    Result<InferCall> call = Decode(
        "two", fmt::format(
                   R"({{"inputs":[{{"name":"in0","shape":[1,2],"datatype":"FP32","data":[1,2]}},
                       {{"name":"in1","shape":[1,2],"datatype":"INT32","data":[3,4]}}]{}}})",
                   rest));
    EXPECT_TRUE(call) << call.error().ToString();
    return std::pair(call->request.wanted_outputs, call->format.binary);
  };
  using Wanted = std::vector<std::uint32_t>;
  using Flags = std::vector<bool>;
  EXPECT_EQ(binary(""), std::pair(Wanted{}, Flags({false, false})));
  EXPECT_EQ(binary(R"(,"outputs":[])"), std::pair(Wanted{}, Flags({false, false})));
  EXPECT_EQ(binary(R"(,"outputs":[{"name":"out1"}])"), std::pair(Wanted{1}, Flags{false}));
  EXPECT_EQ(
      binary(R"(,"outputs":[{"name":"out1","parameters":{"binary_data":true}},{"name":"out0"}])"),
      std::pair(Wanted({1, 0}), Flags({true, false})));
  EXPECT_EQ(
      binary(R"(,"outputs":[{"name":"out1","parameters":{"binary_data":false}},{"name":"out0"}],
                       "parameters":{"binary_data_output":true})"),
      std::pair(Wanted({1, 0}), Flags({false, true})));
}

TEST_F(InferJson, MixedAnswersPutTheBinaryTensorsBehindTheJson) {
  const std::string answer =
      Echo("two",
           R"({"id":"q\"1","inputs":[{"name":"in0","shape":[1,2],"datatype":"FP32","data":[1,2]},
                    {"name":"in1","shape":[1,2],"datatype":"INT32","data":[3,4]}],
          "outputs":[{"name":"out1","parameters":{"binary_data":true}},{"name":"out0"}]})");
  ASSERT_GT(answer.size(), 8U);
  const json document = json::parse(answer.substr(0, answer.size() - 8));
  EXPECT_EQ(document["id"], "q\"1");
  EXPECT_EQ(document["outputs"][0]["name"], "out1");
  EXPECT_EQ(document["outputs"][0]["parameters"]["binary_data_size"], 8);
  EXPECT_FALSE(document["outputs"][0].contains("data"));
  EXPECT_EQ(document["outputs"][1]["data"], json::parse("[1.0,2.0]"));
  std::int32_t ints[2];
  std::memcpy(ints, answer.data() + answer.size() - 8, 8);
  EXPECT_EQ(ints[0], 3);
  EXPECT_EQ(ints[1], 4);
}

TEST_F(InferJson, RawRequestsAreTheDataOfTheOnlyInput) {
  const std::string twelve(48, '\0');
  Result<InferCall> image = DecodeBody("image", twelve, 0);
  ASSERT_TRUE(image) << image.error().ToString();
  EXPECT_EQ(image->request.inputs[0].shape, (Shape{1, 3, 2, 2}));
  EXPECT_EQ(image->format.binary, std::vector<bool>{true});
  Result<InferCall> copy = DecodeBody("copy", twelve, 0);
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->request.inputs[0].shape, Shape{12});
  Result<InferCall> text = DecodeBody("copy_BYTES", "hello", 0);
  ASSERT_TRUE(text) << text.error().ToString();
  EXPECT_EQ(text->request.inputs[0].shape, Shape{1});
  EXPECT_EQ(SplitBytesTensor(text->request.inputs[0].data.data(), 1)->at(0), "hello");

  EXPECT_THAT(DecodeBody("two", twelve, 0).error().message(), HasSubstr("one input"));
  EXPECT_THAT(DecodeBody("image", twelve + "x", 0).error().message(), HasSubstr("49 bytes"));
  EXPECT_THAT(DecodeBody("copy", "abc", 0).error().message(), HasSubstr("do not fill"));
}

TEST_F(InferJson, ParametersReachTheRequest) {
  const auto with = [&](std::string_view model, std::string_view parameters) {
    return Decode(
        model,
        fmt::format(
            R"({{"inputs":[{{"name":"in0","shape":[1],"datatype":"FP32","data":[1]}}],"parameters":{}}})",
            parameters));
  };
  Result<InferCall> call = with(
      "variants",
      R"({"timeout":20000,"slo_us":50000,"priority":2,"application":"camera","min_accuracy":93.5,
          "variant":"m","duly_report":true,"custom":{"a":[1]},"other":null,"big":1e30,
          "huge":123456789012345678901234567890,"sequence_id":0,"sequence_start":false,
          "sequence_end":false})");
  ASSERT_TRUE(call) << call.error().ToString();
  EXPECT_EQ(call->request.timeout, std::chrono::milliseconds(20));
  EXPECT_EQ(call->request.slo, std::chrono::milliseconds(50));
  EXPECT_EQ(call->request.application, node_.FindModel("variants", -1)->generation);
  EXPECT_EQ(call->request.min_accuracy_pct, 93.5);
  EXPECT_EQ(call->request.priority, 2U);
  EXPECT_EQ(with("variants", R"({"priority":18446744073709551615})")->request.priority,
            std::numeric_limits<std::uint32_t>::max());
  EXPECT_EQ(call->request.variants, 2U);
  EXPECT_TRUE(call->format.report);

  EXPECT_EQ(with("variants", R"({"timeout":0})")->request.timeout, std::nullopt);
  EXPECT_EQ(with("variants", R"({"timeout":18446744073709551615})")->request.timeout,
            Duration(std::numeric_limits<std::int64_t>::max() / 1000 * 1000));

  for (const std::string_view bad :
       {R"({"timeout":-1})", R"({"timeout":"5"})", R"({"timeout":1.5})", R"({"slo_us":0})",
        R"({"slo_us":null})", R"({"priority":-1})", R"({"application":"nobody"})",
        R"({"application":5})", R"({"min_accuracy":101})", R"({"min_accuracy":-1})",
        R"({"min_accuracy":94})", R"({"min_accuracy":"93"})", R"({"variant":"xl"})",
        R"({"variant":"s","min_accuracy":91})", R"({"duly_report":1})",
        R"({"binary_data_output":"yes"})"}) {
    Result<InferCall> failed = with("variants", bad);
    ASSERT_FALSE(failed) << bad;
    EXPECT_EQ(failed.error().code(), StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(failed.error().message(), HasSubstr("parameter '")) << bad;
  }
  for (const std::string_view sequence :
       {R"({"sequence_id":7})", R"({"sequence_id":"a"})", R"({"sequence_start":true})"}) {
    EXPECT_EQ(with("copy", sequence).error().code(), StatusCode::kUnimplemented) << sequence;
  }
}

TEST_F(InferJson, ManyParametersCostNoMoreThanTheirReading) {
  std::string parameters;
  for (int i = 0; i < 40000; ++i) parameters += fmt::format("\"p{}\":{},", i, i);
  parameters.back() = '}';
  Result<InferCall> call = Decode(
      "copy",
      fmt::format(
          R"({{"inputs":[{{"name":"in0","shape":[1],"datatype":"FP32","data":[1]}}],"parameters":{{{}}})",
          parameters));
  EXPECT_TRUE(call) << call.error().ToString();
}

TEST_F(InferJson, TextsOfADeferredInputDoNotOverrunTheParsersMemory) {
  // "data" first, so that the object is read twice, with keys that fill the document.
  std::string keys;
  for (int i = 0; i < 2000; ++i)
    keys += fmt::format("\"{}{}\":\"{}\",", std::string(40, 'k'), i, std::string(40, 'v'));
  Result<InferCall> call = Decode(
      "copy_BYTES",
      fmt::format(
          R"({{"inputs":[{{"data":["{}"],{}"shape":[1],"datatype":"BYTES","name":"in0"}}]}})",
          std::string(50000, 'd'), keys));
  ASSERT_TRUE(call) << call.error().ToString();
  EXPECT_EQ(call->request.inputs[0].data.size(), 50004U);
}

TEST_F(InferJson, WhatJsonCannotSayIsRefusedInAnswers) {
  Result<InferCall> call = Decode("copy", Input("FP32", "[1]", "[1]"));
  ASSERT_TRUE(call);
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    InferResponse response = FakeNode::Echo(call->request);
    response.outputs[0].data = Buffer::CopyOf(std::as_bytes(std::span(&value, 1)));
    std::string out;
    std::vector<std::span<const std::byte>> binary;
    const Status status = EncodeInferReply(call->format, response, out, binary);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("ask for binary_data"));
  }
  const std::string head =
      R"({"inputs":[{"name":"in0","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}]})";
  Result<InferCall> bytes = DecodeBody("copy_BYTES", head + "\1\0\0\0\xff"s, head.size());
  ASSERT_TRUE(bytes);
  std::string out;
  std::vector<std::span<const std::byte>> binary;
  const Status status =
      EncodeInferReply(bytes->format, FakeNode::Echo(bytes->request), out, binary);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("not UTF-8"));
}

TEST_F(InferJson, NumbersSurviveTheWayThereAndBack) {
  std::string data;
  std::vector<float> values;
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const auto value = std::bit_cast<float>(i * 214748U + 12345U);
    if (!std::isfinite(value)) continue;
    values.push_back(value);
    data += fmt::format("{}{}", data.empty() ? "" : ",", value);
  }
  const std::string answer =
      Echo("copy", Input("FP32", fmt::format("[{}]", values.size()), "[" + data + "]"));
  ASSERT_TRUE(json::accept(answer)) << answer.substr(0, 300);
  EXPECT_EQ(json::parse(answer)["outputs"][0]["data"].get<std::vector<float>>(), values);
}

TEST_F(InferJson, ReportsStandInTheParametersOnlyWhenAskedFor) {
  const std::string plain = Input("FP32", "[1]", "[1]");
  EXPECT_FALSE(json::parse(Echo("variants", plain)).contains("parameters"));
  std::string asking = plain;
  asking.insert(1, R"("parameters":{"duly_report":true},)");
  EXPECT_EQ(json::parse(Echo("variants", asking))["parameters"],
            json::parse(R"({"outcome":"on_time","variant":"s","accuracy":90.0,"device":"cpu",
                            "batch_rows":1,"queue_us":7,"compute_us":11})"));

  InferResponse rejected;
  rejected.outcome = Outcome::kRejected;
  rejected.reason = RejectReason::kPredictedLate;
  rejected.report.predicted = std::chrono::milliseconds(80);
  Result<InferCall> call = Decode("variants", asking);
  const Status status = StatusOf(rejected, "variants");
  EXPECT_EQ(json::parse(EncodeInferError(call->format, rejected, status)),
            (json{{"error", status.message()},
                  {"outcome", "rejected"},
                  {"reason", "predicted_late"},
                  {"predicted_us", 80000}}));
  call->format.report = false;
  EXPECT_EQ(json::parse(EncodeInferError(call->format, rejected, status)),
            (json{{"error", status.message()}}));
}

TEST_F(InferJson, EveryTruncationOfARequestIsRefusedAndNothingElseHappens) {
  const std::string good = R"({"id":"1","parameters":{"timeout":5,"a":[{}]},"inputs":[{"name":"in0",
      "shape":[2],"datatype":"FP32","data":[1.5,-2e3]}],"outputs":[{"name":"out0"}]})";
  ASSERT_EQ(Failure("copy", good), Status());
  for (std::size_t length = 1; length < good.size(); ++length) {
    EXPECT_EQ(Failure("copy", good.substr(0, length)).code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace duly
