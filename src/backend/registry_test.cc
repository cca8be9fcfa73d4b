// SPDX-License-Identifier: Apache-2.0
#include "backend/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "backend/conformance/conformance.h"
#include "base/temp_folder_test_util.h"

namespace duly::conformance {

INSTANTIATE_TEST_SUITE_P(Registry, BackendConformance,
                         testing::Values(Subject{.name = "Cpu",
                                                 .make = [] { return *MakeBackend(DeviceSpec()); },
                                                 .prepare =
                                                     [](ModelSpec& model) {
                                                       model.variants[0].file =
                                                           std::string(DULY_TESTDATA) + "/" +
                                                           model.name + ".onnx";
                                                     }}),
                         SubjectName);

namespace {

using testing::HasSubstr;

ModelSpec Negation(const std::string& backend) {
  ModelSpec model;
  model.name = "negation";
  model.config_file = "negation/config.pbtxt";
  model.backend = backend;
  model.inputs = {{"x", DataType::kFp32, {1, 3}}};
  model.outputs = {{"y", DataType::kFp32, {1, 3}}};
  model.variants.resize(1);
  model.variants[0].name = "default";
  model.variants[0].file = std::string(DULY_TESTDATA) + "/fixed_first_dimension.onnx";
  return model;
}

std::vector<float> Answer(Backend& backend, const ModelSpec& model) {
  const auto variant = backend.Load(model, model.variants[0]);
  EXPECT_TRUE(variant) << variant.error().ToString();
  if (!variant) return {};
  const std::vector<Tensor> outputs =
      RunAlone(**variant, {TensorOf("x", DataType::kFp32, {1, 3}, std::vector<float>{1, 2, 3})}, 1);
  return ValuesOf<float>(outputs.at(0));
}

DeviceSpec Emulated() {
  DeviceSpec device;
  device.name = "gpu0";
  device.kind = DeviceKind::kEmulated;
  device.slots = 1;
  // Of this test: tests run side by side.
  device.profile_file = testing::TempDir() + "duly_registry_test_" +
                        testing::UnitTest::GetInstance()->current_test_info()->name() + ".yaml";
  std::ofstream(device.profile_file) << R"(
variants:
  - model: negation
    variant: default
    device: "*"
    points: [{rows: 1, mean: 50us}]
)";
  return device;
}

TEST(Registry, CpuServesModelsOfEveryBackEnd) {
  const auto backend = MakeBackend(DeviceSpec());
  ASSERT_TRUE(backend);
  EXPECT_EQ(Answer(**backend, Negation("onnxruntime")), (std::vector<float>{-1, -2, -3}));
  EXPECT_EQ(Answer(**backend, Negation("copy")), (std::vector<float>{1, 2, 3}));
  EXPECT_THAT((*backend)->description(), HasSubstr("onnxruntime 1."));
  for (const std::string_view name : ModelBackends()) {
    if (name == kPlugInBackend) continue;
    EXPECT_FALSE(Answer(**backend, Negation(std::string(name))).empty());
  }
}

TEST(Registry, ADeviceWithAPlugInServesAllModelsByItButCopies) {
  const TempFolder folder;
  DeviceSpec device;
  device.plug_in.file = DULY_SCALE;
  const auto backend = MakeBackend(device);
  ASSERT_TRUE(backend) << backend.error().ToString();
  EXPECT_THAT((*backend)->description(), HasSubstr("scale 1.0"));
  for (const char* const name : {"plug-in", "onnxruntime"}) {
    ModelSpec model = Negation(name);
    model.variants[0].file = folder.Write("m.txt", "scale 1\nfactor 3\nend\n");
    EXPECT_EQ(Answer(**backend, model), (std::vector<float>{3, 6, 9}));
  }
  EXPECT_EQ(Answer(**backend, Negation("copy")), (std::vector<float>{1, 2, 3}));
}

TEST(Registry, ModelsOfPlugInsNeedADeviceWithOne) {
  const auto backend = MakeBackend(DeviceSpec());
  ASSERT_TRUE(backend);
  const ModelSpec model = Negation("plug-in");
  const auto variant = (*backend)->Load(model, model.variants[0]);
  ASSERT_FALSE(variant);
  EXPECT_EQ(variant.error().message(),
            "negation/config.pbtxt: back end 'plug-in' on a device without 'plug_in': expected "
            "the model to be placed on one that has it");
}

TEST(Registry, UnknownBackEndIsRefusedWithTheKnownOnes) {
  const auto backend = MakeBackend(DeviceSpec());
  ASSERT_TRUE(backend);
  const ModelSpec model = Negation("tensorrt");
  const auto variant = (*backend)->Load(model, model.variants[0]);
  ASSERT_FALSE(variant);
  EXPECT_EQ(variant.error().message(),
            "negation/config.pbtxt: unknown back end 'tensorrt': expected one of onnxruntime, "
            "copy, plug-in");
}

TEST(Registry, EmulatedDeviceAnswersZerosOrComputes) {
  DeviceSpec device = Emulated();
  const auto answering_zeros = MakeBackend(device);
  ASSERT_TRUE(answering_zeros) << answering_zeros.error().ToString();
  EXPECT_EQ(Answer(**answering_zeros, Negation("onnxruntime")), (std::vector<float>{0, 0, 0}));
  device.compute = true;
  const auto computing = MakeBackend(device);
  ASSERT_TRUE(computing);
  EXPECT_EQ(Answer(**computing, Negation("onnxruntime")), (std::vector<float>{-1, -2, -3}));
  EXPECT_EQ(Answer(**computing, Negation("copy")), (std::vector<float>{1, 2, 3}));
}

TEST(Registry, FaultsOfTheProfileAreListed) {
  DeviceSpec device = Emulated();
  std::ofstream(device.profile_file) << "variants:\n  - modle: negation\n";
  const auto backend = MakeBackend(device);
  ASSERT_FALSE(backend);
  EXPECT_THAT(backend.error().message(), HasSubstr(device.profile_file + ":2:"));
  device.profile_file = testing::TempDir() + "/duly_registry_test_missing.yaml";
  EXPECT_FALSE(MakeBackend(device));
}

}  // namespace
}  // namespace duly::conformance
