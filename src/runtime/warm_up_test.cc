// SPDX-License-Identifier: Apache-2.0
#include "runtime/warm_up.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Data = WarmUpInput::Data;

template <typename T>
std::vector<T> ValuesOf(const Tensor& tensor) {
  std::vector<T> values(tensor.data.size() / sizeof(T));
  std::memcpy(values.data(), tensor.data.data().data(), tensor.data.size());
  return values;
}

// Up to 4 rows of "a" FP32 [-1,2], "b" INT32 [-1,-1] and, if it is sent, "t" BYTES [-1,1].
ModelSpec SampledModel() {
  ModelSpec model;
  model.max_rows = 4;
  model.inputs = {{"a", DataType::kFp32, {-1, 2}, false},
                  {"b", DataType::kInt32, {-1, -1}, false},
                  {"t", DataType::kBytes, {-1, 1}, true}};
  return model;
}

WarmUpInput Input(std::string name, DataType type, Shape dims, Data data = Data::kZeros,
                  std::string file = "") {
  return {std::move(name), type, std::move(dims), data, std::move(file)};
}

// Notes the inputs of its runs; fails from a run on.
class NotingVariant final : public LoadedVariant {
 public:
  explicit NotingVariant(std::size_t fails_from = 1000) : fails_from_(fails_from) {}
  const std::vector<TensorSpec>& inputs() const override { return specs_; }
  const std::vector<TensorSpec>& outputs() const override { return specs_; }
  Status Run(std::span<RunItem> items, RunTimes&) override {
    rows.push_back(items.front().rows);
    if (rows.size() >= fails_from_) return Status(StatusCode::kInternal, "out of order");
    return Status();
  }
  std::vector<std::uint32_t> rows;

 private:
  const std::vector<TensorSpec> specs_;
  const std::size_t fails_from_;
};

class WarmUpTest : public ::testing::Test {
 protected:
  const TempFolder folder_{};
};

TEST_F(WarmUpTest, MakesTheInputsThatASampleNamesAndZerosOfOthers) {
  WarmUpSample sample;
  sample.rows = 3;
  sample.inputs = {Input("b", DataType::kInt32, {50}, Data::kRandom)};
  const std::vector<Tensor> inputs = WarmUpInputs(sample, SampledModel()).value();
  ASSERT_EQ(inputs.size(), 2U);
  EXPECT_EQ(inputs[0].name, "a");
  EXPECT_EQ(inputs[0].shape, (Shape{3, 2}));
  EXPECT_THAT(ValuesOf<float>(inputs[0]), Each(0));
  EXPECT_EQ(inputs[1].shape, (Shape{3, 50}));
  const std::vector<std::int32_t> values = ValuesOf<std::int32_t>(inputs[1]);
  EXPECT_THAT(values, Each(testing::AllOf(testing::Ge(0), testing::Lt(128))));
  EXPECT_NE(*std::ranges::min_element(values), *std::ranges::max_element(values));
  // Each row has the same data.
  EXPECT_TRUE(std::equal(values.begin(), values.begin() + 100, values.begin() + 50));
}

TEST_F(WarmUpTest, ReadsOneRowFromAFile) {
  const std::vector<float> row{0.5F, -2};
  const std::string file = folder_.Write(
      "a.bin", {reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float)});
  WarmUpSample sample;
  sample.rows = 2;
  sample.inputs = {
      Input("a", DataType::kFp32, {2}, Data::kFile, file),
      Input("t", DataType::kBytes, {1}, Data::kFile, folder_.Write("t", {"\3\0\0\0cat", 7}))};
  const std::vector<Tensor> inputs = WarmUpInputs(sample, SampledModel()).value();
  EXPECT_THAT(ValuesOf<float>(inputs.at(0)), ElementsAre(0.5F, -2, 0.5F, -2));
  EXPECT_EQ(inputs.at(2).shape, (Shape{2, 1}));
  EXPECT_THAT(SplitBytesTensor(inputs[2].data.data(), 2).value(), ElementsAre("cat", "cat"));
}

TEST_F(WarmUpTest, SaysWhatDoesNotFitTheModel) {
  const auto said = [](WarmUpInput input, std::uint32_t rows = 1) {
    WarmUpSample sample;
    sample.rows = rows;
    sample.inputs = {std::move(input)};
    const auto inputs = WarmUpInputs(sample, SampledModel());
    return inputs ? "" : inputs.error().message();
  };
  const std::string file = folder_.Write("f", "1234567");
  EXPECT_THAT(said(Input("x", DataType::kFp32, {2})), HasSubstr("no input 'x'"));
  EXPECT_THAT(said(Input("a", DataType::kFp32, {3})),
              HasSubstr("input 'a': it is FP32 [1,3]: expected FP32 [-1,2]"));
  EXPECT_THAT(said(Input("a", DataType::kFp64, {2})), HasSubstr("expected FP32"));
  EXPECT_THAT(said(Input("a", DataType::kFp32, {2}), 5), HasSubstr("5 rows: expected from 1 to 4"));
  EXPECT_THAT(said(Input("a", DataType::kFp32, {2}, Data::kFile, file)),
              HasSubstr("has 7 bytes: expected 8"));
  EXPECT_THAT(said(Input("t", DataType::kBytes, {1}, Data::kFile, file)),
              HasSubstr("expected 1 elements, each with its length"));
  EXPECT_THAT(said(Input("a", DataType::kFp32, {2}, Data::kFile, folder_.At("none"))),
              HasSubstr(folder_.At("none")));
  EXPECT_THAT(said(Input("b", DataType::kInt32, {std::int64_t{1} << 40})), HasSubstr("at most"));
  EXPECT_EQ(said(Input("b", DataType::kInt32, {7}), 4), "");
}

TEST_F(WarmUpTest, RunsOnZerosAndThenEverySampleAsOftenAsItSays) {
  ModelSpec model = SampledModel();
  model.warmup_runs = 2;
  model.warmup_samples = {{"first", 4, 3, {}}, {"second", 1, 1, {}}};
  NotingVariant variant;
  EXPECT_TRUE(WarmUp(model, variant).ok());
  EXPECT_THAT(variant.rows, ElementsAre(1, 1, 4, 4, 4, 1));

  NotingVariant failing(4);
  EXPECT_EQ(WarmUp(model, failing).message(), "warm-up sample 'first' failed: out of order");
  EXPECT_EQ(failing.rows.size(), 4U);
  model.warmup_samples[1].inputs = {Input("x", DataType::kFp32, {1})};
  NotingVariant other;
  EXPECT_THAT(WarmUp(model, other).message(), HasSubstr("'second' failed: the model has no input"));
}

}  // namespace
}  // namespace duly
