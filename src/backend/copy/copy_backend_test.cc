// SPDX-License-Identifier: Apache-2.0
#include "backend/copy/copy_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/common/monotonic.h"
#include "backend/conformance/conformance.h"

namespace duly::conformance {

INSTANTIATE_TEST_SUITE_P(Copy, BackendConformance,
                         testing::Values(Subject{
                             .name = "Copy",
                             .make = [] { return MakeCopyBackend(); },
                             .prepare = [](ModelSpec& model) { model.backend = "copy"; }}),
                         SubjectName);

namespace {

using testing::HasSubstr;

ModelSpec TwoTensors() {
  ModelSpec model;
  model.name = "echo";
  model.config_file = "models/echo/config.pbtxt";
  model.backend = "copy";
  model.inputs = {{"a", DataType::kFp32, {2}}, {"b", DataType::kBytes, {-1}}};
  model.outputs = {{"c", DataType::kFp32, {2}}, {"d", DataType::kBytes, {-1}}};
  model.variants.resize(1);
  return model;
}

Status LoadStatus(const ModelSpec& model) {
  const auto variant = MakeCopyBackend()->Load(model, model.variants[0]);
  return variant ? Status() : variant.error();
}

TEST(CopyBackend, AnswersTheSameBytesWithoutCopying) {
  const ModelSpec model = TwoTensors();
  auto variant = MakeCopyBackend()->Load(model, model.variants[0]);
  ASSERT_TRUE(variant);
  std::vector<Tensor> outputs;
  const std::byte* address = nullptr;
  {
    const std::vector<Tensor> inputs = {MakeTensor("a", DataType::kFp32, {2}, 1),
                                        MakeTensor("b", DataType::kBytes, {3}, 1)};
    address = inputs[1].data.data().data();
    outputs = RunAlone(**variant, inputs, 1);
  }
  // The input is gone, but its memory is not.
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_EQ(outputs[1].data.data().data(), address);
  EXPECT_EQ(BytesOf(outputs[1]), BytesOf(MakeTensor("b", DataType::kBytes, {3}, 1)));
}

TEST(CopyBackend, RefusesOutputsThatAreNotItsInputs) {
  ModelSpec model = TwoTensors();
  EXPECT_TRUE(LoadStatus(model).ok());
  model.outputs.pop_back();
  EXPECT_THAT(LoadStatus(model).message(), HasSubstr("models/echo/config.pbtxt: 2 inputs and 1"));
  model = TwoTensors();
  model.inputs.clear();
  model.outputs.clear();
  EXPECT_EQ(LoadStatus(model).code(), StatusCode::kInvalidArgument);
  model = TwoTensors();
  model.outputs[0].type = DataType::kInt32;
  EXPECT_THAT(LoadStatus(model).message(), HasSubstr("'a' is FP32 [2] and output 'c' is INT32"));
  model = TwoTensors();
  model.outputs[1].shape = {3};
  EXPECT_EQ(LoadStatus(model).code(), StatusCode::kInvalidArgument);
  model = TwoTensors();
  model.inputs[0].optional = true;
  EXPECT_THAT(LoadStatus(model).message(), HasSubstr("'a' is optional"));
}

TEST(CopyBackend, DelayHoldsARunAtLeastThatLong) {
  ModelSpec model = TwoTensors();
  model.parameters = {{"other", "x"}, {"delay", "20ms"}};
  auto variant = MakeCopyBackend()->Load(model, model.variants[0]);
  ASSERT_TRUE(variant);
  const std::vector<Tensor> inputs = {MakeTensor("a", DataType::kFp32, {2}, 1),
                                      MakeTensor("b", DataType::kBytes, {3}, 1)};
  RunItem item{.inputs = inputs, .rows = 1, .wanted_outputs = {}, .outputs = {}};
  RunTimes times;
  const Duration start = MonotonicNow();
  ASSERT_TRUE((*variant)->Run(std::span(&item, 1), times).ok());
  EXPECT_GE(MonotonicNow() - start, std::chrono::milliseconds(20));
  EXPECT_GE(times.infer, std::chrono::milliseconds(20));
}

TEST(CopyBackend, RefusesADelayWithoutUnit) {
  ModelSpec model = TwoTensors();
  model.parameters = {{"delay", "300"}};
  EXPECT_THAT(LoadStatus(model).message(),
              HasSubstr("models/echo/config.pbtxt: parameter 'delay'"));
}

}  // namespace
}  // namespace duly::conformance
