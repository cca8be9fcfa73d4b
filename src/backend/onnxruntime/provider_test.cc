// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/provider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>

#include "backend/onnxruntime/onnxruntime_backend.h"

namespace duly {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kModel = std::string(DULY_TESTDATA) + "/mlp.onnx";

// There only where scripts/setup.sh has one for the machine.
bool HavePlugIn() { return std::filesystem::exists(DULY_PLUG_IN) && ORT_API_VERSION >= 22; }

ProviderSpec Named(std::string name, std::string plug_in = "") {
  ProviderSpec provider;
  provider.name = std::move(name);
  provider.plug_in = std::move(plug_in);
  return provider;
}

Result<std::unique_ptr<Backend>> Make(const ProviderSpec& provider) {
  DeviceSpec device;
  device.provider = provider;
  return MakeOnnxRuntimeBackend(device);
}

std::string Refusal(const ProviderSpec& provider) {
  const auto backend = Make(provider);
  EXPECT_FALSE(backend);
  return backend ? "" : backend.error().message();
}

TEST(Provider, ThatIsNotThereIsRefusedWithThoseThatAre) {
  EXPECT_THAT(Refusal(Named("CUDA")),
              AllOf(StartsWith("provider CUDA: ONNX Runtime 1."), HasSubstr("no such provider"),
                    HasSubstr("CPU"), HasSubstr("'library'")));
}

TEST(Provider, OfAFileThatIsNoPlugInIsRefused) {
  EXPECT_THAT(Refusal(Named("OpenVINO", kModel)),
              AllOf(StartsWith("provider OpenVINO: " + kModel), HasSubstr("ONNX Runtime 1.")));
}

TEST(Provider, WithoutACacheOfItsOwnIsRefusedOne) {
  ProviderSpec cpu = Named("CPU");
  cpu.cache_folder = "somewhere";
  EXPECT_THAT(Refusal(cpu), AllOf(HasSubstr("'cache' of a provider"), HasSubstr("OpenVINO")));
}

TEST(Provider, OfAPlugInIsTakenByTheHardwareThatItOffers) {
  if (!HavePlugIn()) GTEST_SKIP() << "no " << DULY_PLUG_IN;
  ProviderSpec npu = Named("webgpu", DULY_PLUG_IN);
  npu.hardware = "npu";
  EXPECT_THAT(Refusal(npu), AllOf(HasSubstr("found no webgpu on npu"), HasSubstr("CPU on cpu")));
}

// The environment lists the CPU's provider beside those of plug-ins.
TEST(Provider, OfAPlugInRunsModels) {
  if (!HavePlugIn()) GTEST_SKIP() << "no " << DULY_PLUG_IN;
  for (int again = 0; again < 2; ++again) {
    const auto backend = Make(Named("CPU", DULY_PLUG_IN));
    ASSERT_TRUE(backend) << backend.error().ToString();
    EXPECT_THAT((*backend)->description(), HasSubstr("CPUExecutionProvider"));
    ModelSpec model;
    model.name = "mlp";
    model.max_rows = 1;
    model.variants.resize(1);
    model.variants[0].file = kModel;
    EXPECT_TRUE((*backend)->Load(model, model.variants[0]));
  }
}

}  // namespace
}  // namespace duly
