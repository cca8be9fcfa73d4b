// SPDX-License-Identifier: Apache-2.0
//
// Requests with tensors in shared memory, from their JSON to their answer.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/fake_node_test_util.h"
#include "server/infer_json.h"
#include "server/shared_object_test_util.h"

namespace duly {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::size_t kObjectBytes = 8192;
constexpr std::size_t kRegionBytes = 4096;

class InferSharedMemory : public ::testing::Test {
 protected:
  InferSharedMemory() {
    EXPECT_TRUE(registry_.Register("r", object_.Key(), 0, kRegionBytes).ok());
    EXPECT_TRUE(registry_.Register("upper", object_.Key(), kRegionBytes, kRegionBytes).ok());
  }

  Result<InferCall> Decode(std::string_view model, const std::string& request,
                           std::string_view binary = {}) {
    auto [buffer, bytes] =
        Buffer::Allocate(request.size() + binary.size() + InferDecoder::kPadding);
    std::memset(bytes.data(), 0, bytes.size());
    std::ranges::copy(std::as_bytes(std::span(request)), bytes.begin());
    std::ranges::copy(std::as_bytes(std::span(binary)),
                      bytes.begin() + static_cast<std::ptrdiff_t>(request.size()));
    return decoder_.Decode(node_.FindModel(model, -1),
                           buffer.Slice(0, request.size() + binary.size()), request.size(),
                           &registry_);
  }
  // What a request without a fault would say.
  Status Failure(std::string_view model, const std::string& request) {
    const Result<InferCall> call = Decode(model, request);
    return call ? Status() : call.error();
  }
  // Of a request that is decoded, answered with its inputs, and encoded.
  Result<std::string> Echo(std::string_view model, const std::string& request) {
    DULY_ASSIGN_OR_RETURN(const InferCall call, Decode(model, request));
    InferResponse response = FakeNode::Echo(call.request);
    DULY_RETURN_IF_ERROR(Conclude(call.format, response));
    std::string out;
    std::vector<std::span<const std::byte>> binary;
    DULY_RETURN_IF_ERROR(EncodeInferReply(call.format, response, out, binary));
    EXPECT_TRUE(binary.empty());
    return out;
  }

  SharedObject object_{kObjectBytes};
  SharedMemoryRegistry registry_{std::size_t{1} << 20};
  FakeNode node_{TestModels()};
  InferDecoder decoder_;
};

std::string Place(std::string_view region, std::uint64_t bytes, std::uint64_t offset) {
  return fmt::format(
      R"("shared_memory_region":"{}","shared_memory_byte_size":{},"shared_memory_offset":{})",
      region, bytes, offset);
}

std::string Request(std::string_view type, std::string_view shape, std::string_view in,
                    std::string_view out = {}) {
  return fmt::format(
      R"({{"inputs":[{{"name":"in0","datatype":"{}","shape":{},"parameters":{{{}}}}}],)"
      R"("outputs":[{{"name":"out0","parameters":{{{}}}}}]}})",
      type, shape, in, out);
}

TEST_F(InferSharedMemory, InputsComeFromARegionAndOutputsGoToOne) {
  object_.Put<float>(40, std::array<float, 3>{1, 2.5, -3});
  const Result<std::string> reply =
      Echo("copy", Request("FP32", "[3]", Place("r", 12, 40), Place("upper", 100, 8)));
  ASSERT_TRUE(reply) << reply.error().ToString();
  EXPECT_EQ(json::parse(*reply)["outputs"],
            json::parse(R"([{"name":"out0","datatype":"FP32","shape":[3]}])"));
  EXPECT_THAT(object_.Get<float>(kRegionBytes + 8, 3), ElementsAre(1, 2.5, -3));
}

TEST_F(InferSharedMemory, ClassesGoToARegionLikeAnyOutput) {
  object_.Put<float>(40, std::array<float, 3>{1, 2.5, -3});
  const Result<std::string> reply =
      Echo("copy", Request("FP32", "[3]", Place("r", 12, 40),
                           R"("classification":1,)" + Place("upper", 100, 8)));
  ASSERT_TRUE(reply) << reply.error().ToString();
  EXPECT_EQ(json::parse(*reply)["outputs"],
            json::parse(R"([{"name":"out0","datatype":"BYTES","shape":[1]}])"));
  EXPECT_THAT(object_.Get<std::uint32_t>(kRegionBytes + 8, 1), ElementsAre(10));
  const std::vector<char> text = object_.Get<char>(kRegionBytes + 12, 10);
  EXPECT_EQ(std::string(text.begin(), text.end()), "2.500000:1");
}

TEST_F(InferSharedMemory, AnInputKeepsItsValueWhateverTheClientDoesThen) {
  object_.Put<float>(0, std::array<float, 2>{1, 2});
  const Result<InferCall> call = Decode("copy", Request("FP32", "[2]", Place("r", 8, 0)));
  ASSERT_TRUE(call);
  object_.Put<float>(0, std::array<float, 2>{7, 8});
  object_.Resize(0);
  registry_.UnregisterAll();
  std::array<float, 2> values{};
  std::memcpy(values.data(), call->request.inputs[0].data.data().data(), sizeof(values));
  EXPECT_THAT(values, ElementsAre(1, 2));
}

TEST_F(InferSharedMemory, StandsBesideOtherTensorsOfTheMessage) {
  object_.Put<std::int32_t>(0, std::array<std::int32_t, 2>{5, 6});
  const std::string request =
      R"({"inputs":[{"name":"in1","datatype":"INT32","shape":[1,2],"parameters":{)" +
      Place("r", 8, 0) +
      R"(}},{"name":"in0","datatype":"FP32","shape":[1,2],"data":[1,2]}],
         "outputs":[{"name":"out0"},{"name":"out1","parameters":{)" +
      Place("r", 8, 64) + "}}]}";
  const Result<std::string> reply = Echo("two", request);
  ASSERT_TRUE(reply) << reply.error().ToString();
  const json outputs = json::parse(*reply)["outputs"];
  EXPECT_EQ(outputs[0]["data"], json::parse("[1,2]"));
  EXPECT_FALSE(outputs[1].contains("data"));
  EXPECT_THAT(object_.Get<std::int32_t>(64, 2), ElementsAre(5, 6));
}

TEST_F(InferSharedMemory, BinaryTensorsFollowThoseThatAreElsewhere) {
  object_.Put<float>(0, std::array<float, 2>{1, 2});
  const std::string request =
      R"({"inputs":[{"name":"in0","datatype":"FP32","shape":[1,2],"parameters":{)" +
      Place("r", 8, 0) +
      R"(}},{"name":"in1","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":8}}]})";
  const Result<InferCall> call = Decode("two", request, std::string_view("\1\0\0\0\2\0\0\0", 8));
  ASSERT_TRUE(call) << call.error().ToString();
  std::array<std::int32_t, 2> values{};
  std::memcpy(values.data(), call->request.inputs[1].data.data().data(), sizeof(values));
  EXPECT_THAT(values, ElementsAre(1, 2));
}

TEST_F(InferSharedMemory, BytesTakeWhatTheyTake) {
  object_.Put<char>(10, std::span(std::string_view("\2\0\0\0ab\0\0\0\0", 10)));
  const Result<std::string> reply =
      Echo("copy_BYTES", Request("BYTES", "[2]", Place("r", 10, 10), Place("r", 100, 200)));
  ASSERT_TRUE(reply) << reply.error().ToString();
  const std::vector<char> out = object_.Get<char>(200, 10);
  EXPECT_EQ(std::string_view(out.data(), out.size()), std::string_view("\2\0\0\0ab\0\0\0\0", 10));
  EXPECT_THAT(Failure("copy_BYTES", Request("BYTES", "[3]", Place("r", 10, 10))).message(),
              HasSubstr("the data holds 2 elements: expected 3 by its shape (shared memory region "
                        "'r')"));
  EXPECT_THAT(Failure("copy_BYTES", Request("BYTES", "[2]", Place("r", 9, 10))).message(),
              HasSubstr("input 'in0': the length of element 1 reaches past the data (shared"));
}

TEST_F(InferSharedMemory, TypesWithoutAJsonFormNeedNone) {
  object_.Put<std::uint16_t>(0, std::array<std::uint16_t, 2>{0x3c00, 0x7c00});
  EXPECT_TRUE(Echo("copy_FP16", Request("FP16", "[2]", Place("r", 4, 0), Place("r", 4, 8))));
  EXPECT_THAT(object_.Get<std::uint16_t>(8, 2), ElementsAre(0x3c00, 0x7c00));
}

TEST_F(InferSharedMemory, WrongPlacesAreTheClientsFaultAndNamed) {
  struct BadPlace {
    std::string in;
    std::string out;
    std::string_view says;
  };
  const std::string good = Place("r", 8, 0);
  const std::vector<BadPlace> table{
      {Place("x", 8, 0), "", "input 'in0': shared memory region 'x' is not registered"},
      {Place("r", 8, 4089), "", "input 'in0': shared_memory_offset 4089 and"},
      {Place("r", 8, 18446744073709551615U), "", "beyond the 4096 bytes of shared memory region"},
      {Place("r", 18446744073709551615U, 8), "", "beyond the 4096 bytes of shared memory region"},
      {Place("r", 12, 0), "",
       "input 'in0': shared_memory_byte_size 12 in region 'r': expected 8 by its shape and"},
      {Place("r", 4, 0), "", "shared_memory_byte_size 4 in region 'r': expected 8"},
      {R"("shared_memory_region":"r")", "", "input 'in0': 'shared_memory_byte_size' is missing"},
      {R"("shared_memory_byte_size":8)", "", "input 'in0': 'shared_memory_region' is missing"},
      {R"("shared_memory_region":5)", "", "'inputs[0]': 'shared_memory_region': expected a name"},
      {R"("shared_memory_byte_size":-8)", "", "'inputs[0]': 'shared_memory_byte_size': expected"},
      {R"("shared_memory_offset":1.5)", "", "'inputs[0]': 'shared_memory_offset': expected a wh"},
      {good + R"(,"binary_data_size":8)", "",
       "input 'in0' has both 'binary_data_size' and shared memory region 'r'"},
      {good, Place("x", 8, 0), "output 'out0': shared memory region 'x' is not registered"},
      {good, Place("r", 4097, 0), "output 'out0': shared_memory_offset 0 and"},
      {good, R"("shared_memory_region":"r")", "output 'out0': 'shared_memory_byte_size' is"},
      {good, R"("shared_memory_region":true)", "'outputs[0]': 'shared_memory_region': expected"},
  };
  for (const BadPlace& bad : table) {
    const Status status = Failure("copy", Request("FP32", "[2]", bad.in, bad.out));
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << bad.in << ' ' << bad.out;
    EXPECT_THAT(status.message(), HasSubstr(std::string(bad.says)));
  }
  for (
      const std::string_view order :
      {R"({{"inputs":[{{"name":"in0","datatype":"FP32","shape":[2],"data":[1,2],"parameters":{{{}}}}}]}})",
       R"({{"inputs":[{{"parameters":{{{}}},"data":[1,2],"name":"in0","datatype":"FP32","shape":[2]}}]}})"}) {
    EXPECT_THAT(Failure("copy", fmt::format(fmt::runtime(order), good)).message(),
                HasSubstr("input 'in0' has both 'data' and shared memory region 'r'"));
  }
  EXPECT_TRUE(Failure("copy", Request("FP32", "[2]", good, good)).ok());
}

TEST_F(InferSharedMemory, AnOutputThatDoesNotFitFailsItsRequest) {
  const Result<std::string> reply =
      Echo("copy", Request("FP32", "[3]", Place("r", 12, 0), Place("r", 11, 100)));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(
      reply.error().message(),
      "output 'out0': 12 bytes: expected at most the shared_memory_byte_size 11 in region 'r'");
}

TEST_F(InferSharedMemory, ATruncatedObjectFailsTheRequestsThatNeedIt) {
  object_.Resize(100);
  EXPECT_THAT(Failure("copy", Request("FP32", "[2]", Place("r", 8, 96))).message(),
              HasSubstr("input 'in0': the shared memory object '" + object_.Key() +
                        "' of region 'r' has become shorter"));
  const Result<std::string> reply =
      Echo("copy", Request("FP32", "[2]", Place("r", 8, 0), Place("upper", 8, 0)));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(reply.error().message(), HasSubstr("output 'out0': the shared memory object"));
}

TEST_F(InferSharedMemory, AnswersReachTheirPlaceThoughItWasUnregistered) {
  object_.Put<float>(0, std::array<float, 2>{1, 2});
  const Result<InferCall> call =
      Decode("copy", Request("FP32", "[2]", Place("r", 8, 0), Place("r", 8, 8)));
  ASSERT_TRUE(call);
  registry_.UnregisterAll();
  InferResponse response = FakeNode::Echo(call->request);
  ASSERT_TRUE(Conclude(call->format, response).ok());
  EXPECT_THAT(object_.Get<float>(8, 2), ElementsAre(1, 2));
}

TEST_F(InferSharedMemory, WithoutARegistryItIsNotAllowed) {
  for (const std::string& request :
       {Request("FP32", "[2]", Place("r", 8, 0)),
        std::string(R"({"inputs":[{"name":"in0","datatype":"FP32","shape":[2],"data":[1,2]}],
             "outputs":[{"name":"out0","parameters":{"shared_memory_region":"r"}}]})")}) {
    auto [buffer, bytes] = Buffer::Allocate(request.size() + InferDecoder::kPadding);
    std::memset(bytes.data(), 0, bytes.size());
    std::memcpy(bytes.data(), request.data(), request.size());
    const Result<InferCall> call = decoder_.Decode(node_.FindModel("copy", -1),
                                                   buffer.Slice(0, request.size()), request.size());
    ASSERT_FALSE(call);
    EXPECT_EQ(call.error().code(), StatusCode::kUnimplemented);
    EXPECT_THAT(call.error().message(), HasSubstr("0': shared memory is not allowed"));
  }
}

}  // namespace
}  // namespace duly
