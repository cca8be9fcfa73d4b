// SPDX-License-Identifier: Apache-2.0
#include "server/classification.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "server/fake_node_test_util.h"

namespace duly {
namespace {

template <typename T>
Tensor Output(DataType type, Shape shape, const std::vector<T>& values) {
  return {"out0", type, std::move(shape), Buffer::CopyOf(std::as_bytes(std::span(values)))};
}

std::vector<std::string> TextsOf(const Result<Tensor>& tensor) {
  if (!tensor) return {tensor.error().ToString()};
  EXPECT_EQ(tensor->type, DataType::kBytes);
  EXPECT_EQ(tensor->name, "out0");
  const auto texts =
      SplitBytesTensor(tensor->data.data(), ElementCount(tensor->shape).value_or(-1));
  if (!texts) return {"malformed"};
  return {texts->begin(), texts->end()};
}

using Texts = std::vector<std::string>;

TEST(Classification, GivesTheLargestOfEachRow) {
  const ModelSpec model = EchoModel("m", 8, {{DataType::kFp32, {-1, 2, 2}}});
  const Tensor output =
      Output<float>(DataType::kFp32, {2, 2, 2}, {0.1F, 0.5F, 0.25F, -1, 1e6F, 2, 3, 4});
  const Result<Tensor> two = Classify(model, output, 2);
  EXPECT_EQ(TextsOf(two), (Texts{"0.500000:1", "0.250000:2", "1000000.000000:0", "4.000000:3"}));
  EXPECT_EQ(two->shape, (Shape{2, 2}));
  const Result<Tensor> all = Classify(model, output, 100);
  EXPECT_EQ(TextsOf(all), (Texts{"0.500000:1", "0.250000:2", "0.100000:0", "-1.000000:3",
                                 "1000000.000000:0", "4.000000:3", "3.000000:2", "2.000000:1"}));
  EXPECT_EQ(all->shape, (Shape{2, 4}));
}

TEST(Classification, OfAModelWithoutBatchesIsOneRow) {
  const ModelSpec model = EchoModel("m", 0, {{DataType::kInt32, {-1, -1}}});
  const Result<Tensor> two =
      Classify(model, Output<std::int32_t>(DataType::kInt32, {2, 2}, {1, -5, 7, 3}), 2);
  EXPECT_EQ(TextsOf(two), (Texts{"7:2", "3:3"}));
  EXPECT_EQ(two->shape, Shape{2});
  const Result<Tensor> none =
      Classify(model, Output<std::int32_t>(DataType::kInt32, {0, 2}, {}), 2);
  EXPECT_EQ(TextsOf(none), Texts{});
  EXPECT_EQ(none->shape, Shape{0});
}

TEST(Classification, NamesWhatHasALabel) {
  ModelSpec model = EchoModel("m", 0, {{DataType::kUint8, {3}}});
  model.labels = {{"other", {"x", "y", "z"}}, {"out0", {"cat", "a dog: big"}}};
  const Tensor output = Output<std::uint8_t>(DataType::kUint8, {3}, {2, 255, 9});
  EXPECT_EQ(TextsOf(Classify(model, output, 3)), (Texts{"255:1:a dog: big", "9:2", "2:0:cat"}));
}

TEST(Classification, EqualsGoByIndexAndNanIsLast) {
  const ModelSpec model = EchoModel("m", 0, {{DataType::kFp64, {-1}}});
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Tensor output =
      Output<double>(DataType::kFp64, {7}, {kNan, 1, -kInfinity, 1, kNan, kInfinity, 1});
  EXPECT_EQ(TextsOf(Classify(model, output, 7)),
            (Texts{"inf:5", "1.000000:1", "1.000000:3", "1.000000:6", "-inf:2", "nan:0", "nan:4"}));
}

TEST(Classification, KnowsEveryTypeOfNumbers) {
  const auto first = [](DataType type, auto... values) {
    using T = std::common_type_t<decltype(values)...>;
    const ModelSpec model = EchoModel("m", 0, {{type, {-1}}});
    return TextsOf(Classify(model, Output<T>(type, {sizeof...(values)}, {values...}), 1))[0];
  };
  EXPECT_EQ(first(DataType::kInt8, std::int8_t{-128}, std::int8_t{-7}), "-7:1");
  EXPECT_EQ(first(DataType::kUint8, std::uint8_t{128}, std::uint8_t{7}), "128:0");
  EXPECT_EQ(first(DataType::kInt16, std::int16_t{-3}, std::int16_t{300}), "300:1");
  EXPECT_EQ(first(DataType::kUint16, std::uint16_t{65535}, std::uint16_t{0}), "65535:0");
  EXPECT_EQ(first(DataType::kUint32, 4294967295U, 1U), "4294967295:0");
  EXPECT_EQ(first(DataType::kInt64, std::int64_t{-1}, std::int64_t{-2}), "-1:0");
  EXPECT_EQ(first(DataType::kUint64, ~std::uint64_t{0}, std::uint64_t{1}),
            "18446744073709551615:0");
  // binary16: 1.5, the largest, the smallest subnormal, -infinity.
  using Bits = std::uint16_t;
  EXPECT_EQ(first(DataType::kFp16, Bits{0x3e00}, Bits{0x0001}, Bits{0xfc00}), "1.500000:0");
  EXPECT_EQ(first(DataType::kFp16, Bits{0x3e00}, Bits{0x7bff}, Bits{0xfc00}), "65504.000000:1");
  EXPECT_EQ(first(DataType::kFp16, Bits{0x7e00}, Bits{0x03ff}, Bits{0xbe00}), "0.000061:1");
  EXPECT_EQ(first(DataType::kFp16, Bits{0xfc00}, Bits{0xbe00}), "-1.500000:1");
  EXPECT_EQ(first(DataType::kBf16, Bits{0x3fc0}, Bits{0xc000}), "1.500000:0");
  EXPECT_FALSE(IsClassifiable(DataType::kBool));
  EXPECT_FALSE(IsClassifiable(DataType::kBytes));
}

TEST(Classification, RefusesWhatTheModelDidNotPromise) {
  const ModelSpec model = EchoModel("m", 8, {{DataType::kFp32, {-1, 2}}});
  for (const Tensor& wrong :
       {Output<float>(DataType::kFp32, {}, {1}), Output<float>(DataType::kFp32, {1, 2}, {1}),
        Output<char>(DataType::kBool, {1, 2}, {1, 0})}) {
    EXPECT_EQ(Classify(model, wrong, 1).error().code(), StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace duly
