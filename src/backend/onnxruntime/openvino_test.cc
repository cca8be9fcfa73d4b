// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/conformance/conformance.h"
#include "backend/onnxruntime/onnxruntime_backend.h"
#include "base/scratch_folder.h"

namespace duly::conformance {
namespace {

std::string TestFile(const std::string& name) {
  return std::string(DULY_TESTDATA) + "/" + name + ".onnx";
}

DeviceSpec OpenVinoDevice() {
  DeviceSpec device;
  device.provider.name = "openvino";
  device.provider.options = {{"device_type", "CPU"}, {"num_of_threads", "1"}};
  return device;
}

auto Subjects() {
  return testing::Values(
      Subject{.name = "OpenVino",
              .make = [] { return MakeOnnxRuntimeBackend(OpenVinoDevice()).value(); },
              .prepare = [](ModelSpec& model) { model.variants[0].file = TestFile(model.name); },
              .narrows_int64 = true});
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Provider, BackendConformance, Subjects(), SubjectName);
INSTANTIATE_TEST_SUITE_P(Provider, BackendFileConformance, Subjects(), SubjectName);

namespace {

ModelSpec Mlp() {
  ModelSpec model;
  model.name = "mlp";
  model.max_rows = 4;
  model.variants.resize(1);
  model.variants[0].file = TestFile("mlp");
  return model;
}

std::vector<float> RunMlp(Backend& backend) {
  const ModelSpec model = Mlp();
  const auto variant = backend.Load(model, model.variants[0]);
  EXPECT_TRUE(variant) << variant.error().ToString();
  if (!variant) return {};
  const TensorSpec& input = (*variant)->inputs()[0];
  std::vector<float> values(static_cast<std::size_t>(2 * input.shape[1]));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) - 3;
  const Tensor tensor = TensorOf(input.name, DataType::kFp32, {2, input.shape[1]}, values);
  return ValuesOf<float>(RunAlone(**variant, {tensor}, 2).at(0));
}

TEST(OpenVino, ComputesWhatTheCpusProviderDoes) {
  const auto cpu = MakeOnnxRuntimeBackend(DeviceSpec()).value();
  DeviceSpec device = OpenVinoDevice();
  device.provider.cpu_fallback = false;  // else the CPU's could have computed it
  const auto openvino = MakeOnnxRuntimeBackend(device);
  ASSERT_TRUE(openvino) << openvino.error().ToString();
  EXPECT_THAT((*openvino)->description(), testing::HasSubstr("OpenVINOExecutionProvider"));
  const std::vector<float> expected = RunMlp(*cpu);
  ASSERT_FALSE(expected.empty());
  EXPECT_THAT(RunMlp(**openvino), testing::Pointwise(testing::FloatNear(1e-4F), expected));
}

TEST(OpenVino, KeepsWhatItCompiled) {
  const auto folder = ScratchFolder::Make();
  ASSERT_TRUE(folder);
  DeviceSpec device = OpenVinoDevice();
  device.provider.cache_folder = folder->path() + "/compiled";
  const auto backend = MakeOnnxRuntimeBackend(device);
  ASSERT_TRUE(backend) << backend.error().ToString();
  RunMlp(**backend);
  std::error_code error;
  EXPECT_FALSE(std::filesystem::is_empty(device.provider.cache_folder, error)) << error.message();
}

TEST(OpenVino, OptionThatItDoesNotTakeIsRefusedAtOnce) {
  DeviceSpec device = OpenVinoDevice();
  device.provider.options["no_such_option"] = "1";
  const auto backend = MakeOnnxRuntimeBackend(device);
  ASSERT_FALSE(backend);
  EXPECT_THAT(backend.error().message(), testing::HasSubstr("no_such_option"));
}

}  // namespace
}  // namespace duly::conformance
