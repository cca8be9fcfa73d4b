// SPDX-License-Identifier: Apache-2.0
#include "backend/plug_in/plug_in_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/conformance/conformance.h"
#include "base/temp_folder_test_util.h"

namespace duly::conformance {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

DeviceSpec DeviceOf(const std::string& library, std::map<std::string, std::string> options = {}) {
  DeviceSpec device;
  device.name = "npu";
  device.plug_in = {library, std::move(options)};
  return device;
}

constexpr const char* kIdentity = "scale 1\nfactor 1\nend\n";

Subject Scale() {
  return {.name = "Scale",
          .make = [] { return MakePlugInBackend(DeviceOf(DULY_SCALE)).value(); },
          .prepare =
              [](ModelSpec& model) {
                static const TempFolder folder;
                model.variants[0].file = folder.Write("identity.txt", kIdentity);
              }};
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(PlugIn, BackendConformance, testing::Values(Scale()), SubjectName);
INSTANTIATE_TEST_SUITE_P(PlugIn, BackendFileConformance, testing::Values(Scale()), SubjectName);

namespace {

Status OpenStatus(const std::string& library, std::map<std::string, std::string> options = {}) {
  const auto backend = MakePlugInBackend(DeviceOf(library, std::move(options)));
  return backend ? Status() : backend.error();
}

ModelSpec Row(DataType type = DataType::kFp32) {
  ModelSpec model;
  model.name = "row";
  model.max_rows = 4;
  model.inputs = {{"x", type, {-1, 2}}};
  model.outputs = {{"y", type, {-1, 2}}};
  model.variants.resize(1);
  return model;
}

TEST(PlugIn, ScalesByTheModelsFactorAndTheDevicesGain) {
  const TempFolder folder;
  const auto backend = MakePlugInBackend(DeviceOf(DULY_SCALE, {{"gain", "2"}})).value();
  EXPECT_EQ(backend->description(), "scale 1.0 (libduly_scale.so)");
  ModelSpec model = Row();
  model.variants[0].file = folder.Write("m.txt", "scale 1\nfactor 2.5\nend\n");
  const auto variant = backend->Load(model, model.variants[0]);
  ASSERT_TRUE(variant) << variant.error().ToString();
  EXPECT_GT((*variant)->memory_bytes(), 0U);
  const std::vector<Tensor> outputs = RunAlone(
      **variant, {TensorOf("x", DataType::kFp32, {1, 2}, std::vector<float>{1, -0.5F})}, 1);
  EXPECT_EQ(ValuesOf<float>(outputs.at(0)), (std::vector<float>{5, -2.5F}));

  model = Row(DataType::kInt32);
  model.variants[0].file = folder.At("m.txt");
  const auto integers = backend->Load(model, model.variants[0]);
  ASSERT_FALSE(integers);
  EXPECT_EQ(integers.error().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(integers.error().message(),
              AllOf(StartsWith(folder.At("m.txt") + ": "), HasSubstr("libduly_scale.so: input 'x'"),
                    HasSubstr("expected FP32 or FP64")));
}

TEST(PlugIn, OptionsThatItDoesNotTakeAreRefusedWithItsFile) {
  const Status unknown = OpenStatus(DULY_SCALE, {{"gian", "2"}});
  EXPECT_EQ(unknown.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(unknown.message(), std::string(DULY_SCALE) + ": unknown option 'gian': expected gain");
  EXPECT_THAT(OpenStatus(DULY_SCALE, {{"gain", "much"}}).message(), HasSubstr("gain is 'much'"));
}

TEST(PlugIn, WhatIsNoneIsRefusedWithWhatWasExpected) {
  const TempFolder folder;
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {folder.At("missing.so"), "there is no such file"},
      {folder.path(), "there is no such file"},
      {folder.Write("text.so", "not a library"), "cannot be loaded: "},
      {DULY_HOSTILE "NoEntry.so", "has no function DulyBackendEntry"},
      {DULY_HOSTILE "Null.so", "does not have this version"},
      {DULY_HOSTILE "OtherVersion.so", "has version 2"},
      {DULY_HOSTILE "TinyTable.so", "has a table of 4 bytes"},
      {DULY_HOSTILE "ShortTable.so", "has a table of 56 bytes, which are 64"},
      {DULY_HOSTILE "Holes.so", "has no close, run in its table"},
      {DULY_HOSTILE "Throws.so", "DulyBackendEntry threw an exception"}};
  for (const auto& [file, what] : wrong) {
    const Status status = OpenStatus(file);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(),
                AllOf(StartsWith(file + ": " + what),
                      HasSubstr(": expected a back end of Duly's C interface (duly_backend.h), "
                                "version 1")));
  }
}

TEST(PlugIn, ATableWithMoreMembersIsTaken) {
  EXPECT_TRUE(OpenStatus(DULY_HOSTILE "Longer.so").ok());
}

struct Misdeed {
  std::string fault;
  StatusCode code;
  std::string message;
};

TEST(PlugIn, ADeviceThatCannotBeOpenedSaysWhy) {
  const std::vector<Misdeed> misdeeds = {
      {"open throws", StatusCode::kInternal, "opening the device threw an exception"},
      {"open is silent", StatusCode::kInternal, "opening the device failed, and it does not say"},
      {"open fills the message", StatusCode::kInternal, std::string(1023, '?')},
      {"open answers another code", StatusCode::kInternal, "code 99: expected one of"},
      {"open gives no device", StatusCode::kInternal, "opened a device that is NULL"}};
  for (const Misdeed& misdeed : misdeeds) {
    const Status status = OpenStatus(DULY_HOSTILE "Complete.so", {{"fault", misdeed.fault}});
    EXPECT_EQ(status.code(), misdeed.code) << misdeed.fault;
    EXPECT_THAT(status.message(),
                AllOf(StartsWith(DULY_HOSTILE "Complete.so: "), HasSubstr(misdeed.message)));
  }
}

// A back end with this fault, and a model for it.
struct Hostile {
  explicit Hostile(const std::string& fault)
      : backend(
            MakePlugInBackend(DeviceOf(DULY_HOSTILE "Complete.so", {{"fault", fault}})).value()) {
    model.variants[0].file = folder.path();
  }
  Result<std::unique_ptr<LoadedVariant>> Load() { return backend->Load(model, model.variants[0]); }
  Status Run() {
    const auto variant = Load();
    if (!variant) return variant.error();
    const std::vector<Tensor> x = {MakeTensor("x", DataType::kFp32, {1, 2}, 1)};
    std::vector<RunItem> items(2);
    for (RunItem& item : items) item.inputs = x;
    RunTimes times;
    Status status = (*variant)->Run(items, times);
    for (const RunItem& item : items) {
      EXPECT_EQ(item.outputs.size(), status.ok() ? 1U : 0U);
      if (status.ok()) outputs.push_back(item.outputs[0]);
    }
    return status;
  }
  void AnswerStrings() {
    model.outputs = {{"y", DataType::kBytes, {-1, 1}}};
    model.parameters = {{"strings", "yes"}};
  }

  TempFolder folder;
  std::unique_ptr<Backend> backend;
  ModelSpec model = Row();
  std::vector<Tensor> outputs;
};

TEST(PlugIn, AnImplausibleVariantIsRefused) {
  const std::vector<std::pair<std::string, std::string>> misdeeds = {
      {"load gives no variant", "loaded a variant that is NULL"},
      {"inputs are nowhere", "1 inputs at NULL"},
      {"inputs are too many", "1152921504606846976 inputs: expected at most 4096"},
      {"names are equal", "input 1 is called 'x': expected a name of its own"},
      {"name is missing", "output 0 is called ''"},
      {"type is unknown", "output 'y' is of type 15: expected 1 to 14"},
      {"rank is garbage", "output 'y' has 65 dimensions: expected at most 64"},
      {"shape is nowhere", "output 'y' has 2 dimensions at NULL"},
      {"shape is negative", "output 'y' is of shape [-1,-2]"}};
  for (const auto& [fault, message] : misdeeds) {
    Hostile hostile(fault);
    const auto variant = hostile.Load();
    ASSERT_FALSE(variant) << fault;
    EXPECT_EQ(variant.error().code(), StatusCode::kInternal) << fault;
    EXPECT_THAT(variant.error().message(),
                AllOf(StartsWith(hostile.folder.path() + ": " + DULY_HOSTILE "Complete.so: "),
                      HasSubstr(message)));
  }
  Hostile other("name is another");
  EXPECT_EQ(other.Load().error().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(other.Load().error().message(), HasSubstr("the file needs it as FP32 [-1,2]"));
}

TEST(PlugIn, AWrongAnswerFailsTheBatch) {
  EXPECT_TRUE(Hostile("").Run().ok());
  const std::vector<Misdeed> misdeeds = {
      {"run throws", StatusCode::kInternal, "the run threw an exception"},
      {"run fails", StatusCode::kInternal, "the chip is hot"},
      {"run cannot take the shape", StatusCode::kInvalidArgument, "the chip is hot"},
      {"run answers nothing", StatusCode::kInternal, "output 'y' was not answered"},
      {"output is another", StatusCode::kInternal, "output 1 was answered: expected one below 1"},
      {"output is not wanted", StatusCode::kInternal, "output 'y2' was answered: it was not"},
      {"output is answered twice", StatusCode::kInternal, "output 'y' was answered twice"},
      {"output is too short", StatusCode::kInternal, "has 15 bytes: expected 16"},
      {"output is too long", StatusCode::kInternal, "has 17 bytes: expected 16"},
      {"rows are missing", StatusCode::kInternal, "has shape [1,2] for a batch of 2 rows"},
      {"rows are negative", StatusCode::kInternal, "has shape [-1,2]: expected [-1,2]"},
      {"columns are more", StatusCode::kInternal, "has shape [2,3]: expected [-1,2]"},
      {"dimensions are more", StatusCode::kInternal, "has 3 dimensions: expected [-1,2]"},
      {"dimensions are nowhere", StatusCode::kInternal, "has 2 dimensions at NULL"}};
  for (const Misdeed& misdeed : misdeeds) {
    Hostile hostile(misdeed.fault);
    const Status status = hostile.Run();
    EXPECT_EQ(status.code(), misdeed.code) << misdeed.fault;
    EXPECT_THAT(status.message(),
                AllOf(StartsWith(hostile.folder.path() + ": " + DULY_HOSTILE "Complete.so: "),
                      HasSubstr(misdeed.message)));
  }
}

TEST(PlugIn, StringsAreCutIntoRowsOrRefused) {
  Hostile strings("");
  strings.AnswerStrings();
  ASSERT_TRUE(strings.Run().ok());
  ASSERT_EQ(strings.outputs.size(), 2U);
  for (const Tensor& output : strings.outputs) {
    EXPECT_EQ(output.shape, (Shape{1, 1}));
    EXPECT_EQ(ValuesOf<std::uint32_t>(output), (std::vector<std::uint32_t>{4, 0}));
  }
  for (const auto& [fault, message] : std::vector<std::pair<std::string, std::string>>{
           {"lengths are wrong", "of 16 bytes is not well-formed: expected 2 lengths"},
           {"output is endless", "has 4611686018427387904 bytes: expected 274877906944 at most"}}) {
    Hostile hostile(fault);
    hostile.AnswerStrings();
    EXPECT_THAT(hostile.Run().message(), HasSubstr(message));
  }
}

TEST(PlugIn, InputStringsThatAreNoneDoNotReachIt) {
  const TempFolder folder;
  const auto backend = MakePlugInBackend(DeviceOf(DULY_SCALE)).value();
  ModelSpec model = Row(DataType::kBytes);
  model.variants[0].file = folder.Write("m.txt", kIdentity);
  const auto variant = backend->Load(model, model.variants[0]);
  ASSERT_TRUE(variant) << variant.error().ToString();
  const std::vector<Tensor> x = {
      TensorOf("x", DataType::kBytes, {1, 2}, std::vector<std::uint32_t>{0, 9})};
  RunItem item{.inputs = x, .rows = 1, .wanted_outputs = {}, .outputs = {}};
  RunTimes times;
  EXPECT_THAT((*variant)->Run(std::span(&item, 1), times).message(),
              HasSubstr("input 'x' is not a well-formed BYTES tensor"));
}

TEST(PlugIn, SaysTheMemoryOfItsVariants) { EXPECT_EQ((*Hostile("").Load())->memory_bytes(), 123U); }

}  // namespace
}  // namespace duly::conformance
