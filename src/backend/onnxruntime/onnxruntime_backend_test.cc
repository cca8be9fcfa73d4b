// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/onnxruntime_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/common/monotonic.h"
#include "backend/conformance/conformance.h"

namespace duly::conformance {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string TestFile(const std::string& name) {
  return std::string(DULY_TESTDATA) + "/" + name + ".onnx";
}

auto Subjects() {
  const auto with_threads = [](std::string name, std::uint32_t threads) {
    return Subject{
        .name = std::move(name),
        .make =
            [threads] {
              DeviceSpec device;
              device.threads_per_slot = threads;
              return MakeOnnxRuntimeBackend(device).value();
            },
        .prepare = [](ModelSpec& model) { model.variants[0].file = TestFile(model.name); }};
  };
  return testing::Values(with_threads("OneThread", 1), with_threads("TwoThreads", 2));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(OnnxRuntime, BackendConformance, Subjects(), SubjectName);
INSTANTIATE_TEST_SUITE_P(OnnxRuntime, BackendFileConformance, Subjects(), SubjectName);

namespace {

class OnnxRuntimeBackend : public testing::Test {
 protected:
  // A model without configuration: everything comes from the file.
  static ModelSpec Model(const std::string& file, std::uint32_t max_rows) {
    ModelSpec model;
    model.name = file;
    model.max_rows = max_rows;
    model.variants.resize(1);
    model.variants[0].file = TestFile(file);
    return model;
  }

  static ModelSpec ConfiguredModel(const std::string& file, std::uint32_t max_rows,
                                   std::vector<TensorSpec> inputs,
                                   std::vector<TensorSpec> outputs) {
    ModelSpec model = Model(file, max_rows);
    model.config_file = "m/config.pbtxt";
    model.inputs = std::move(inputs);
    model.outputs = std::move(outputs);
    return model;
  }

  std::unique_ptr<LoadedVariant> Load(const ModelSpec& model) {
    auto variant = backend_->Load(model, model.variants[0]);
    EXPECT_TRUE(variant) << variant.error().ToString();
    return variant ? std::move(*variant) : nullptr;
  }
  std::unique_ptr<LoadedVariant> Load(const std::string& file, std::uint32_t max_rows) {
    return Load(Model(file, max_rows));
  }

  std::string Refusal(const ModelSpec& model) {
    const auto variant = backend_->Load(model, model.variants[0]);
    EXPECT_FALSE(variant);
    if (variant) return "";
    EXPECT_EQ(variant.error().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(variant.error().message(), testing::StartsWith(model.variants[0].file + ": "));
    return variant.error().message();
  }

  static Status RunStatus(LoadedVariant& variant, const std::vector<Tensor>& inputs) {
    RunItem item{.inputs = inputs, .rows = 1, .wanted_outputs = {}, .outputs = {}};
    RunTimes times;
    const Status status = variant.Run(std::span(&item, 1), times);
    EXPECT_EQ(status.ok(), !item.outputs.empty());
    return status;
  }

  std::unique_ptr<Backend> backend_ = MakeOnnxRuntimeBackend(DeviceSpec()).value();
};

Tensor Floats(std::string name, Shape shape, const std::vector<float>& values) {
  return TensorOf(std::move(name), DataType::kFp32, std::move(shape), values);
}

TEST_F(OnnxRuntimeBackend, ReadsSpecsFromTheFile) {
  const auto variant = Load("sum_and_difference", 4);
  ASSERT_NE(variant, nullptr);
  EXPECT_THAT(variant->inputs(), ElementsAre(TensorSpec{"a", DataType::kFp32, {-1, 2}},
                                             TensorSpec{"b", DataType::kFp32, {-1, 2}}));
  EXPECT_THAT(variant->outputs(), ElementsAre(TensorSpec{"sum", DataType::kFp32, {-1, 2}},
                                              TensorSpec{"difference", DataType::kFp32, {-1, 2}}));
  EXPECT_THAT(backend_->description(), testing::StartsWith("onnxruntime 1."));
}

TEST_F(OnnxRuntimeBackend, TakesOrderAndOutputsFromTheConfiguration) {
  const auto variant = Load(ConfiguredModel(
      "sum_and_difference", 4, {{"b", DataType::kFp32, {-1, 2}}, {"a", DataType::kFp32, {-1, 2}}},
      {{"difference", DataType::kFp32, {-1, 2}}}));
  ASSERT_NE(variant, nullptr);
  EXPECT_THAT(variant->inputs(), ElementsAre(TensorSpec{"b", DataType::kFp32, {-1, 2}},
                                             TensorSpec{"a", DataType::kFp32, {-1, 2}}));
  const auto outputs =
      RunAlone(*variant, {Floats("b", {1, 2}, {1, 2}), Floats("a", {1, 2}, {10, 20})}, 1);
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_EQ(outputs[0].name, "difference");
  EXPECT_THAT(ValuesOf<float>(outputs[0]), ElementsAre(9, 18));
}

TEST_F(OnnxRuntimeBackend, ComputesEachOutputFromItsInputs) {
  const auto variant = Load("sum_and_difference", 4);
  ASSERT_NE(variant, nullptr);
  const std::array<std::vector<Tensor>, 2> inputs = {
      std::vector<Tensor>{Floats("a", {1, 2}, {1, 2}), Floats("b", {1, 2}, {10, 20})},
      std::vector<Tensor>{Floats("a", {2, 2}, {3, 4, 5, 6}),
                          Floats("b", {2, 2}, {30, 40, 50, 60})}};
  std::array<RunItem, 2> items;
  items[0].inputs = inputs[0];
  items[1].inputs = inputs[1];
  items[1].rows = 2;
  RunTimes times;
  ASSERT_TRUE(variant->Run(items, times).ok());
  EXPECT_THAT(ValuesOf<float>(items[0].outputs[0]), ElementsAre(11, 22));
  EXPECT_THAT(ValuesOf<float>(items[0].outputs[1]), ElementsAre(-9, -18));
  EXPECT_THAT(ValuesOf<float>(items[1].outputs[0]), ElementsAre(33, 44, 55, 66));
  EXPECT_THAT(ValuesOf<float>(items[1].outputs[1]), ElementsAre(-27, -36, -45, -54));
}

TEST_F(OnnxRuntimeBackend, BatchOfArithmeticEqualsRunsAlone) {
  const auto variant = Load("mlp", 16);
  ASSERT_NE(variant, nullptr);
  std::vector<std::vector<Tensor>> inputs;
  std::vector<RunItem> items(5);
  std::uint32_t rows = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i].rows = static_cast<std::uint32_t>(1 + i % 3);
    std::vector<float> values(16 * items[i].rows);
    for (float& v : values) v = static_cast<float>(++rows % 17) * 0.25F - 2;
    inputs.push_back({Floats("x", {items[i].rows, 16}, values)});
  }
  for (std::size_t i = 0; i < items.size(); ++i) items[i].inputs = inputs[i];
  RunTimes times;
  ASSERT_TRUE(variant->Run(items, times).ok());
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto alone = RunAlone(*variant, inputs[i], items[i].rows);
    EXPECT_EQ(items[i].outputs[0].shape, alone[0].shape);
    const auto expected = ValuesOf<float>(alone[0]);
    const auto actual = ValuesOf<float>(items[i].outputs[0]);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t k = 0; k < expected.size(); ++k) EXPECT_NEAR(actual[k], expected[k], 1e-4);
  }
}

TEST_F(OnnxRuntimeBackend, BatchedOutputsShareOneBuffer) {
  const auto variant = Load("mlp", 16);
  ASSERT_NE(variant, nullptr);
  const std::vector<Tensor> inputs = {Floats("x", {1, 16}, std::vector<float>(16, 1))};
  std::array<RunItem, 3> items;
  for (RunItem& item : items) item.inputs = inputs;
  RunTimes times;
  ASSERT_TRUE(variant->Run(items, times).ok());
  for (std::size_t i = 1; i < items.size(); ++i) {
    EXPECT_EQ(items[i].outputs[0].data.data().data(),
              items[i - 1].outputs[0].data.data().data() + 4 * sizeof(float));
  }
}

TEST_F(OnnxRuntimeBackend, ComputesWithStrings) {
  const auto variant = Load("repeat", 4);
  ASSERT_NE(variant, nullptr);
  const std::array<std::vector<Tensor>, 2> inputs = {
      std::vector<Tensor>{MakeTensor("x", DataType::kBytes, {1, 2}, 1)},
      std::vector<Tensor>{MakeTensor("x", DataType::kBytes, {2, 2}, 2)}};
  std::array<RunItem, 2> items;
  items[0].inputs = inputs[0];
  items[1].inputs = inputs[1];
  items[1].rows = 2;
  RunTimes times;
  ASSERT_TRUE(variant->Run(items, times).ok());
  for (const RunItem& item : items) {
    const Tensor& output = item.outputs[0];
    EXPECT_EQ(output.shape, (Shape{item.rows, 4}));
    const auto in = SplitBytesTensor(item.inputs[0].data.data(), 2 * item.rows);
    const auto out = SplitBytesTensor(output.data.data(), 4 * item.rows);
    ASSERT_TRUE(in && out);
    for (std::size_t row = 0; row < item.rows; ++row) {
      for (std::size_t k = 0; k < 4; ++k) EXPECT_EQ((*out)[4 * row + k], (*in)[2 * row + k % 2]);
    }
  }
}

TEST_F(OnnxRuntimeBackend, RefusesMalformedStrings) {
  const auto variant = Load("repeat", 4);
  ASSERT_NE(variant, nullptr);
  Tensor tensor = MakeTensor("x", DataType::kBytes, {1, 2}, 1);
  tensor.data = tensor.data.Slice(0, tensor.data.size() - 1);
  EXPECT_THAT(RunStatus(*variant, {tensor}).message(), HasSubstr("'x'"));
}

TEST_F(OnnxRuntimeBackend, KernelsSeeBoolsOfZeroAndOneOnly) {
  // A model that copies shows what the library was given.
  const auto variant = Load("identity_bool", 4);
  ASSERT_NE(variant, nullptr);
  const std::vector<Tensor> odd = {
      TensorOf("x", DataType::kBool, {1, 4}, std::vector<std::uint8_t>{0, 1, 2, 255})};
  EXPECT_THAT(ValuesOf<std::uint8_t>(RunAlone(*variant, odd, 1)[0]), ElementsAre(0, 1, 1, 1));
  // The client's bytes are shared and stay as they were.
  EXPECT_THAT(ValuesOf<std::uint8_t>(odd[0]), ElementsAre(0, 1, 2, 255));
  std::array<RunItem, 2> items;
  for (RunItem& item : items) item.inputs = odd;
  RunTimes times;
  ASSERT_TRUE(variant->Run(items, times).ok());
  EXPECT_THAT(ValuesOf<std::uint8_t>(items[1].outputs[0]), ElementsAre(0, 1, 1, 1));
}

TEST_F(OnnxRuntimeBackend, InputWithDefaultMayBeLeftOut) {
  const auto variant = Load(ConfiguredModel(
      "optional_bias", 0,
      {{"bias", DataType::kFp32, {1, 2}, true}, {"x", DataType::kFp32, {-1, 2}}}, {}));
  ASSERT_NE(variant, nullptr);
  const Tensor x = Floats("x", {1, 2}, {1, 2});
  EXPECT_THAT(ValuesOf<float>(RunAlone(*variant, {x}, 1)[0]), ElementsAre(11, 22));
  EXPECT_THAT(ValuesOf<float>(RunAlone(*variant, {Floats("bias", {1, 2}, {5, 6}), x}, 1)[0]),
              ElementsAre(6, 8));
  // Not listed, it is no input.
  EXPECT_EQ(Load("optional_bias", 0)->inputs().size(), 1U);
}

TEST_F(OnnxRuntimeBackend, OutputThatIsAnInputIsCopied) {
  const auto variant = Load("passthrough", 4);
  ASSERT_NE(variant, nullptr);
  std::vector<Tensor> outputs;
  {
    const std::vector<Tensor> inputs = {Floats("x", {1, 2}, {1, 2})};
    outputs = RunAlone(*variant, inputs, 1);
    EXPECT_NE(outputs[0].data.data().data(), inputs[0].data.data().data());
  }
  EXPECT_THAT(ValuesOf<float>(outputs[0]), ElementsAre(1, 2));
  EXPECT_THAT(ValuesOf<float>(outputs[1]), ElementsAre(-1, -2));
}

TEST_F(OnnxRuntimeBackend, ConstantOutputOutlivesTheModel) {
  auto variant = Load("constant_output", 0);
  ASSERT_NE(variant, nullptr);
  const auto outputs = RunAlone(*variant, {Floats("x", {2}, {1, 2})}, 1);
  variant.reset();
  backend_.reset();
  EXPECT_THAT(ValuesOf<float>(outputs[1]), ElementsAre(1, 2, 3));
}

TEST_F(OnnxRuntimeBackend, ScalarsAreTensorsWithoutDimensions) {
  const auto variant = Load("scalar", 0);
  ASSERT_NE(variant, nullptr);
  const auto outputs = RunAlone(*variant, {Floats("x", {}, {3})}, 1);
  EXPECT_EQ(outputs[0].shape, Shape{});
  EXPECT_THAT(ValuesOf<float>(outputs[0]), ElementsAre(-3));
}

TEST_F(OnnxRuntimeBackend, FixedFirstDimensionDoesNotBatch) {
  EXPECT_THAT(Refusal(Model("fixed_first_dimension", 8)),
              HasSubstr("input 'x': the model says max_batch_size: 8, the file has FP32 [1,3]"));
  EXPECT_THAT(Refusal(Model("scalar", 4)), HasSubstr("input 'x'"));
  EXPECT_EQ(Load("fixed_first_dimension", 0)->inputs()[0].shape, (Shape{1, 3}));
}

TEST_F(OnnxRuntimeBackend, ModelWithoutConfigurationBatchesAsTheFileAllows) {
  ModelSpec model = Model("mlp", 0);
  model.rows_from_file = true;
  const auto variant = Load(model);
  ASSERT_NE(variant, nullptr);
  const Tensor x = Floats("x", {3, 16}, std::vector<float>(48, 1));
  EXPECT_EQ(RunAlone(*variant, {x}, 3)[0].shape, (Shape{3, 4}));
}

TEST_F(OnnxRuntimeBackend, RefusesWhatContradictsTheConfiguration) {
  const std::string refusal = Refusal(ConfiguredModel(
      "sum_and_difference", 4, {{"a", DataType::kInt32, {-1, 2}}, {"c", DataType::kFp32, {-1, 2}}},
      {{"sum", DataType::kFp32, {-1, 3}}, {"product", DataType::kFp32, {-1, 2}}}));
  EXPECT_THAT(refusal, HasSubstr("input 'a': the configuration says INT32 [-1,2], the file has "
                                 "FP32 [-1,2]"));
  EXPECT_THAT(refusal, HasSubstr("input 'c'"));
  EXPECT_THAT(refusal, HasSubstr("input 'b'"));
  EXPECT_THAT(refusal, HasSubstr("output 'sum'"));
  EXPECT_THAT(refusal, HasSubstr("no such output, but: sum, difference"));
}

TEST_F(OnnxRuntimeBackend, OptionalInputNeedsADefault) {
  EXPECT_THAT(Refusal(ConfiguredModel(
                  "sum_and_difference", 4,
                  {{"a", DataType::kFp32, {-1, 2}}, {"b", DataType::kFp32, {-1, 2}, true}}, {})),
              HasSubstr("input 'b': the configuration says optional, the file needs it"));
}

TEST_F(OnnxRuntimeBackend, ConfigurationSaysTheDimensionsThatTheFileDoesNot) {
  const auto unsaid = Load("unknown_rank", 0);
  ASSERT_NE(unsaid, nullptr);
  EXPECT_EQ(unsaid->outputs()[0].shape, Shape{});
  const auto said = Load(ConfiguredModel("unknown_rank", 4, {{"x", DataType::kFp32, {-1, 2}}},
                                         {{"y", DataType::kFp32, {-1, 2}}}));
  ASSERT_NE(said, nullptr);
  EXPECT_EQ(said->outputs()[0].shape, (Shape{-1, 2}));
  EXPECT_THAT(ValuesOf<float>(RunAlone(*said, {Floats("x", {1, 2}, {1, 2})}, 1)[0]),
              ElementsAre(-1, -2));
}

TEST_F(OnnxRuntimeBackend, RefusesWhatTheProtocolCannotSay) {
  EXPECT_THAT(Refusal(Model("sequence_output", 4)), HasSubstr("output 'y' is a sequence"));
  // Not listed, it is in nobody's way.
  const auto rest =
      Load(ConfiguredModel("sequence_output", 4, {}, {{"z", DataType::kFp32, {-1, 2}}}));
  ASSERT_NE(rest, nullptr);
  EXPECT_EQ(rest->outputs().size(), 1U);
  EXPECT_THAT(Refusal(Model("float8_input", 4)), HasSubstr("input 'x' is a tensor of ONNX"));
  EXPECT_THAT(Refusal(Model("unknown_operator", 4)), HasSubstr("Frobnicate"));
}

TEST_F(OnnxRuntimeBackend, BatchThatLosesItsRowsFails) {
  const auto variant = Load("loses_rows", 4);
  ASSERT_NE(variant, nullptr);
  RunItem item{.inputs = {}, .rows = 2, .wanted_outputs = {}, .outputs = {}};
  const std::vector<Tensor> inputs = {Floats("x", {2, 2}, {1, 2, 3, 4})};
  item.inputs = inputs;
  RunTimes times;
  const Status status = variant->Run(std::span(&item, 1), times);
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("set max_batch_size to 0"));
  EXPECT_TRUE(item.outputs.empty());
}

TEST_F(OnnxRuntimeBackend, FailureInTheModelIsAnErrorThatNamesTheFile) {
  const auto variant = Load("needs_six_elements", 0);
  ASSERT_NE(variant, nullptr);
  const Status status = RunStatus(*variant, {Floats("x", {5}, {1, 2, 3, 4, 5})});
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message(), testing::StartsWith(TestFile("needs_six_elements") + ": "));
  EXPECT_TRUE(RunStatus(*variant, {Floats("x", {6}, {1, 2, 3, 4, 5, 6})}).ok());
}

// Threads of this process and the processors that each may use.
std::multiset<std::string> ThreadAffinities() {
  std::multiset<std::string> affinities;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(thread.path() / "status");
    const std::string key = "Cpus_allowed_list:\t";
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with(key)) affinities.insert(line.substr(key.size()));
    }
  }
  return affinities;
}

TEST_F(OnnxRuntimeBackend, OneThreadPerSlotMakesNoPool) {
  const std::size_t before = ThreadAffinities().size();
  const auto variant = Load("mlp", 4);
  EXPECT_EQ(ThreadAffinities().size(), before);
}

// Seen with official builds from 1.29 on: files of this name, and a thread (which the test above
// catches, being the first to make the environment when it runs alone).
TEST_F(OnnxRuntimeBackend, KeepsNoTelemetry) {
  ASSERT_NE(Load("mlp", 4), nullptr);
  for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(file, error);
    EXPECT_THAT(target, testing::Not(HasSubstr(".onnxruntime/")));
  }
}

TEST_F(OnnxRuntimeBackend, PoolStaysOnTheDevicesCores) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  std::uint32_t core = CPU_SETSIZE;
  while (core > 0 && !CPU_ISSET(core - 1, &allowed)) --core;
  --core;  // the last one: not the one that a wrong count from 0 or 1 would give by chance
  const std::multiset<std::string> before = ThreadAffinities();
  DeviceSpec device;
  device.threads_per_slot = 3;
  device.cores = {core};
  const auto backend = MakeOnnxRuntimeBackend(device).value();
  const ModelSpec model = Model("mlp", 4);
  const auto variant = backend->Load(model, model.variants[0]);
  ASSERT_TRUE(variant);
  std::multiset<std::string> after = ThreadAffinities();
  EXPECT_EQ(after.size(), before.size() + 2);
  // New threads move there by themselves, so that they need a moment.
  const std::string here = std::to_string(core);
  const Duration give_up = MonotonicNow() + std::chrono::seconds(20);
  while (after.count(here) < before.count(here) + 2 && MonotonicNow() < give_up) {
    std::this_thread::yield();
    after = ThreadAffinities();
  }
  EXPECT_EQ(after.count(here), before.count(here) + 2);
}

}  // namespace
}  // namespace duly::conformance
