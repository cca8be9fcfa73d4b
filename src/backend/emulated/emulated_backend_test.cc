// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/emulated_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/common/monotonic.h"
#include "backend/conformance/conformance.h"
#include "backend/copy/copy_backend.h"
#include "backend/emulated/zero_backend.h"

namespace duly::conformance {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

DeviceSpec Device() {
  DeviceSpec device;
  device.name = "gpu0";
  device.kind = DeviceKind::kEmulated;
  device.slots = 1;
  device.profile_file = "gpu.yaml";
  return device;
}

// Every model of the conformance suite takes a tenth of a millisecond.
std::unique_ptr<Backend> MakeFast(std::unique_ptr<Backend> outputs) {
  Profile profile;
  const auto add = [&](std::string model) {
    VariantProfile entry;
    entry.model = std::move(model);
    entry.device = "*";
    entry.points = {{.rows = 1, .mean = std::chrono::microseconds(100)}};
    profile.variants.push_back(std::move(entry));
  };
  for (int type = 0; type <= static_cast<int>(DataType::kBytes); ++type) {
    std::string name(ToString(static_cast<DataType>(type)));
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    add("identity_" + name);
  }
  add("pair");
  return MakeEmulatedBackend(Device(), std::move(profile), std::move(outputs));
}

void NeedsNothing(ModelSpec& /*model*/) {}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Emulated, BackendConformance,
                         testing::Values(Subject{.name = "Zeros",
                                                 .make = [] { return MakeFast(MakeZeroBackend()); },
                                                 .prepare = NeedsNothing,
                                                 .computes = false},
                                         Subject{.name = "Computing",
                                                 .make = [] { return MakeFast(MakeCopyBackend()); },
                                                 .prepare = NeedsNothing}),
                         SubjectName);

namespace {

ModelSpec Model(const std::string& name = "m") {
  ModelSpec model;
  model.name = name;
  model.config_file = "models/m/config.pbtxt";
  model.max_rows = 8;
  model.inputs = {{"x", DataType::kFp32, {-1, 2}}};
  model.outputs = {{"y", DataType::kFp32, {-1, 2}}};
  model.variants.resize(1);
  model.variants[0].name = "default";
  return model;
}

Profile ProfileOf(const std::string& model, std::vector<ProfilePoint> points) {
  Profile profile;
  VariantProfile entry;
  entry.model = model;
  entry.variant = "default";
  entry.device = "gpu0";
  entry.points = std::move(points);
  profile.variants.push_back(std::move(entry));
  return profile;
}

struct Timed {
  Status status;
  Duration elapsed{0};
  RunTimes times;
  std::vector<Tensor> outputs;
};

Timed RunRows(LoadedVariant& variant, std::uint32_t rows) {
  const std::vector<Tensor> inputs = {MakeTensor("x", DataType::kFp32, {rows, 2}, 1)};
  RunItem item{.inputs = inputs, .rows = rows, .wanted_outputs = {}, .outputs = {}};
  Timed run;
  const Duration start = MonotonicNow();
  run.status = variant.Run(std::span(&item, 1), run.times);
  run.elapsed = MonotonicNow() - start;
  run.outputs = std::move(item.outputs);
  return run;
}

TEST(EmulatedBackend, TakesTheTimeOfTheProfileForTheRows) {
  const auto backend = MakeEmulatedBackend(
      Device(),
      ProfileOf("m", {{.rows = 1, .mean = milliseconds(2)}, {.rows = 8, .mean = milliseconds(30)}}),
      MakeZeroBackend());
  const ModelSpec model = Model();
  const auto variant = backend->Load(model, model.variants[0]);
  ASSERT_TRUE(variant);
  // Never early; the least of several shows that it is not the time of other rows either.
  Duration least = Duration::max();
  for (int i = 0; i < 5; ++i) {
    const Timed run = RunRows(**variant, 1);
    EXPECT_GE(run.elapsed, milliseconds(2));
    EXPECT_GE(run.times.infer, milliseconds(2) - std::chrono::microseconds(500));
    least = std::min(least, run.elapsed);
  }
  EXPECT_LT(least, milliseconds(30));
  EXPECT_GE(RunRows(**variant, 8).elapsed, milliseconds(30));
  EXPECT_GE(RunRows(**variant, 2).elapsed, milliseconds(6));
}

TEST(EmulatedBackend, ComputingIsPartOfTheEmulatedTime) {
  const auto backend = MakeEmulatedBackend(
      Device(), ProfileOf("m", {{.rows = 1, .mean = milliseconds(20)}}), MakeCopyBackend());
  ModelSpec model = Model();
  model.parameters = {{"delay", "15ms"}};
  const auto variant = backend->Load(model, model.variants[0]);
  ASSERT_TRUE(variant);
  Duration least = Duration::max();
  for (int i = 0; i < 5 && least >= milliseconds(35); ++i) {
    const Timed run = RunRows(**variant, 1);
    EXPECT_GE(run.elapsed, milliseconds(20));
    least = std::min(least, run.elapsed);
  }
  EXPECT_LT(least, milliseconds(35));
}

TEST(EmulatedBackend, ComputingThatTakesLongerIsTheTime) {
  const auto backend = MakeEmulatedBackend(
      Device(), ProfileOf("m", {{.rows = 1, .mean = milliseconds(1)}}), MakeCopyBackend());
  ModelSpec model = Model();
  model.parameters = {{"delay", "10ms"}};
  const auto variant = backend->Load(model, model.variants[0]);
  ASSERT_TRUE(variant);
  const Timed run = RunRows(**variant, 1);
  EXPECT_GE(run.elapsed, milliseconds(10));
  EXPECT_GE(run.times.infer, milliseconds(10));
}

TEST(EmulatedBackend, FailsTheRunsThatItsConfigurationNames) {
  Profile profile = ProfileOf("m", {{.rows = 1, .mean = std::chrono::microseconds(10)}});
  profile.variants.push_back(profile.variants[0]);
  profile.variants[1].model = "n";
  DeviceSpec device = Device();
  device.behaviour.fail_every = 3;
  const auto backend = MakeEmulatedBackend(device, profile, MakeZeroBackend());
  const ModelSpec m = Model("m");
  const ModelSpec n = Model("n");
  const auto first = backend->Load(m, m.variants[0]);
  const auto second = backend->Load(n, n.variants[0]);
  ASSERT_TRUE(first && second);
  std::vector<int> failed;
  for (int run = 1; run <= 9; ++run) {
    const Timed result = RunRows(run % 2 == 0 ? **first : **second, 1);
    EXPECT_EQ(result.outputs.empty(), !result.status.ok());
    if (result.status.ok()) continue;
    EXPECT_EQ(result.status.code(), StatusCode::kInternal);
    EXPECT_THAT(result.status.message(), HasSubstr("run " + std::to_string(run)));
    failed.push_back(run);
  }
  EXPECT_THAT(failed, ElementsAre(3, 6, 9));
}

TEST(EmulatedBackend, NeedsAnEntryInTheProfile) {
  const auto backend = MakeEmulatedBackend(
      Device(), ProfileOf("m", {{.rows = 1, .mean = milliseconds(1)}}), MakeZeroBackend());
  const ModelSpec other = Model("other");
  const auto variant = backend->Load(other, other.variants[0]);
  ASSERT_FALSE(variant);
  EXPECT_EQ(variant.error().code(), StatusCode::kNotFound);
  EXPECT_THAT(variant.error().message(),
              testing::StartsWith("gpu.yaml: no entry for model 'other'"));
}

TEST(EmulatedBackend, RefusesAnEntryThatIsNoCurve) {
  const auto backend = MakeEmulatedBackend(
      Device(), ProfileOf("m", {{.rows = 1, .mean = Duration(0)}}), MakeZeroBackend());
  const ModelSpec model = Model();
  EXPECT_FALSE(backend->Load(model, model.variants[0]));
}

TEST(ZeroBackend, NeedsConfiguredTensors) {
  ModelSpec model = Model();
  model.outputs.clear();
  const auto variant = MakeZeroBackend()->Load(model, model.variants[0]);
  ASSERT_FALSE(variant);
  EXPECT_THAT(variant.error().message(), HasSubstr("models/m/config.pbtxt: an emulated device"));
}

TEST(ZeroBackend, RefusesOutputsBeyondAllMemory) {
  ModelSpec model = Model();
  for (const std::int64_t size : {std::int64_t{1} << 62, std::int64_t{1} << 56}) {
    model.outputs[0].shape = {-1, size};
    const auto variant = MakeZeroBackend()->Load(model, model.variants[0]);
    ASSERT_FALSE(variant);
    EXPECT_THAT(variant.error().message(), HasSubstr("too large"));
  }
}

}  // namespace
}  // namespace duly::conformance
