// SPDX-License-Identifier: Apache-2.0
#include "repository/node_config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;

std::string NodeFaults(const std::string& text) {
  Faults faults;
  ParseNodeConfig(text, "node.yaml", faults);
  return faults.ToString();
}

TEST(NodeConfig, ReadsTheWholeSchema) {
  const TempFolder folder;
  folder.Write("profiles/jetson.yaml", "x: 1\n");
  const std::string file = folder.Write("node.yaml", R"(
devices:
  - {name: cpu, kind: cpu, slots: 2, threads: 1, cores: [0, 2]}
  - {name: gpu0, kind: emulated, profile: profiles/jetson.yaml, threads: 2, seed: 7, compute: true,
     emulates: {kind: edgetpu, swap: {lite: 10ms}, noise: {cv: 0.05}, fail_every: 100}}
  - {name: gpu1, kind: emulated, profile: profiles/jetson.yaml, emulates: {kind: cpu, cores: 6, threads: 2}}
  - {name: gpu2, kind: emulated, profile: profiles/jetson.yaml}
applications:
  - {name: detector, model: lite, slo: 100ms, timeout: 1s, weight: 2, on_miss: degrade, min_accuracy: 75,
     accuracy_budget: {mean_loss: 0.5, answers: 200}, rate: 20/s}
  - {name: other, model: lite}
placement:
  lite: [cpu, gpu0]
policy: {name: size-or-timeout, delay: 5ms, fill: true}
limits: {queue_requests: 64, body: 1MiB}
)");
  Faults faults;
  const NodeConfig config = LoadNodeConfig(file, faults);
  EXPECT_EQ(faults.ToString(), "");
  EXPECT_EQ(config.file, file);
  ASSERT_EQ(config.devices.size(), 4u);
  const DeviceSpec& cpu = config.devices[0];
  EXPECT_EQ(cpu.name, "cpu");
  EXPECT_EQ(cpu.kind, DeviceKind::kCpu);
  EXPECT_EQ(cpu.slots, 2u);
  EXPECT_EQ(cpu.threads_per_slot, 1u);
  EXPECT_EQ(cpu.cores, (std::vector<std::uint32_t>{0, 2}));
  const DeviceSpec& gpu = config.devices[1];
  EXPECT_EQ(gpu.kind, DeviceKind::kEmulated);
  EXPECT_EQ(gpu.profile_file, folder.At("profiles/jetson.yaml"));
  EXPECT_EQ(gpu.slots, 1u);
  EXPECT_EQ(gpu.threads_per_slot, 2u);
  EXPECT_EQ(gpu.behaviour.mechanism, DeviceMechanism::kEdgeTpu);
  EXPECT_EQ(gpu.behaviour.swap.at("lite"), milliseconds(10));
  EXPECT_EQ(gpu.behaviour.noise.cv, 0.05);
  EXPECT_EQ(gpu.behaviour.fail_every, 100u);
  EXPECT_EQ(config.devices[2].slots, 3u);
  EXPECT_EQ(config.devices[3].behaviour.mechanism, DeviceMechanism::kSerial);
  EXPECT_EQ(gpu.seed, 7u);
  EXPECT_TRUE(gpu.compute);
  ASSERT_EQ(config.applications.size(), 2u);
  const ApplicationSpec& detector = config.applications[0];
  EXPECT_EQ(detector.name, "detector");
  EXPECT_EQ(detector.model, "lite");
  EXPECT_EQ(detector.slo, milliseconds(100));
  EXPECT_EQ(detector.timeout, milliseconds(1000));
  EXPECT_EQ(detector.weight, 2);
  EXPECT_EQ(detector.on_miss, OnMiss::kDegrade);
  EXPECT_EQ(detector.min_accuracy_pct, 75);
  EXPECT_EQ(detector.accuracy_budget, (AccuracyBudget{0.5, 200}));
  EXPECT_EQ(detector.rate_per_s, 20);
  const ApplicationSpec& other = config.applications[1];
  EXPECT_EQ(other.slo, std::nullopt);
  EXPECT_EQ(other.timeout, std::nullopt);
  EXPECT_EQ(other.weight, 1);
  EXPECT_EQ(other.on_miss, OnMiss::kRefuse);
  EXPECT_EQ(other.min_accuracy_pct, std::nullopt);
  EXPECT_EQ(other.accuracy_budget, std::nullopt);
  EXPECT_EQ(other.rate_per_s, 0);
  ASSERT_EQ(config.placement.size(), 1u);
  EXPECT_EQ(config.placement[0].model, "lite");
  EXPECT_EQ(config.placement[0].devices, (std::vector<std::string>{"cpu", "gpu0"}));
  EXPECT_EQ(config.policy.name, "size-or-timeout");
  EXPECT_EQ(config.policy.place, (Place{file, 14, 16}));
  ASSERT_EQ(config.policy.options.size(), 2u);
  EXPECT_EQ(config.policy.options[0].key, "delay");
  EXPECT_EQ(config.policy.options[0].value, "5ms");
  EXPECT_EQ(config.policy.options[0].key_place, (Place{file, 14, 33}));
  EXPECT_EQ(config.policy.options[0].value_place, (Place{file, 14, 40}));
  EXPECT_EQ(config.policy.options[1].key, "fill");
  EXPECT_EQ(config.limits.queue_requests, 64u);
  EXPECT_EQ(config.limits.body_bytes, 1u << 20);
}

TEST(NodeConfig, ReadsProviders) {
  const TempFolder folder;
  folder.Write("plugins/ep.so", "x");
  Faults faults;
  const NodeConfig config = LoadNodeConfig(folder.Write("node.yaml", R"(
devices:
  - {name: gpu, kind: accelerator, provider: {name: TensorRT, cache: engines, options: {trt_fp16_enable: 1}}}
  - {name: npu, kind: cpu, provider: {name: Own, library: plugins/ep.so, hardware: npu, cpu_fallback: false}}
)"),
                                           faults);
  EXPECT_EQ(faults.ToString(), "");
  ASSERT_EQ(config.devices.size(), 2u);
  EXPECT_EQ(config.devices[0].kind, DeviceKind::kAccelerator);
  const ProviderSpec& tensorrt = config.devices[0].provider;
  EXPECT_EQ(tensorrt.name, "TensorRT");
  EXPECT_EQ(tensorrt.cache_folder, folder.At("engines"));
  EXPECT_EQ(tensorrt.options, (std::map<std::string, std::string>{{"trt_fp16_enable", "1"}}));
  EXPECT_TRUE(tensorrt.cpu_fallback);
  const ProviderSpec& own = config.devices[1].provider;
  EXPECT_EQ(own.plug_in, folder.At("plugins/ep.so"));
  EXPECT_EQ(own.hardware, "npu");
  EXPECT_FALSE(own.cpu_fallback);
}

TEST(NodeConfig, ReadsPlugIns) {
  const TempFolder folder;
  folder.Write("plugins/scale.so", "x");
  Faults faults;
  const NodeConfig config = LoadNodeConfig(folder.Write("node.yaml", R"(
devices:
  - {name: npu, kind: accelerator, slots: 2, plug_in: {library: plugins/scale.so, options: {gain: 2}}}
  - {name: cpu, kind: cpu}
)"),
                                           faults);
  EXPECT_EQ(faults.ToString(), "");
  ASSERT_EQ(config.devices.size(), 2u);
  EXPECT_EQ(config.devices[0].plug_in.file, folder.At("plugins/scale.so"));
  EXPECT_EQ(config.devices[0].plug_in.options, (std::map<std::string, std::string>{{"gain", "2"}}));
  EXPECT_EQ(config.devices[0].slots, 2u);
  EXPECT_EQ(config.devices[1].plug_in.file, "");
}

TEST(NodeConfig, DefaultIsOneCpuDeviceWhoseSizeIsNotSettled) {
  Faults faults;
  for (const NodeConfig& config :
       {NodeConfig(), ParseNodeConfig("limits: {queue_requests: 1024}", "node.yaml", faults)}) {
    ASSERT_EQ(config.devices.size(), 1u);
    EXPECT_EQ(config.devices[0].name, "cpu");
    EXPECT_EQ(config.devices[0].kind, DeviceKind::kCpu);
    EXPECT_EQ(config.devices[0].slots, 0u);
    EXPECT_EQ(config.policy.name, "edf");
    EXPECT_EQ(config.limits.queue_requests, 1024u);
    EXPECT_EQ(config.limits.body_bytes, 64u << 20);
  }
  EXPECT_EQ(faults.ToString(), "");
}

struct BadNodeFile {
  std::string text;
  std::string faults;
};
class NodeConfigRefuses : public testing::TestWithParam<BadNodeFile> {};

TEST_P(NodeConfigRefuses, WithItsPlaceAndWhatIsExpected) {
  EXPECT_EQ(NodeFaults(GetParam().text), GetParam().faults) << GetParam().text;
}

const BadNodeFile kBadNode[] = {
    {"device: []",
     "node.yaml:1:1: unknown key 'device' (did you mean 'devices'?): expected one of: devices, "
     "applications, placement, policy, limits"},
    {"devices: []", "node.yaml:1:10: devices is empty: expected at least one element"},
    {"devices: [{name: a}]",
     "node.yaml:1:11: 'kind' is missing: expected one of: cpu, accelerator, emulated"},
    {"devices: [{kind: cpu}]", "node.yaml:1:11: 'name' is missing: expected text of one line"},
    {"devices: [{name: a, kind: gpu, profile: p}]",
     "node.yaml:1:27: kind is 'gpu': expected one of: cpu, accelerator, emulated"},
    {"devices: [{name: a, kind: cpu}, {name: a, kind: cpu}]",
     "node.yaml:1:40: name 'a' is given again: expected each name once"},
    {"devices: [{name: a, kind: accelerator}]",
     "node.yaml:1:11: an accelerator without 'provider' or 'plug_in': expected what computes on "
     "it"},
    {"devices: [{name: a, kind: cpu, provider: {name: CPU}, plug_in: {library: no.so}}]",
     "node.yaml:1:64: 'plug_in' of a device with a provider: expected one of the two\n"
     "node.yaml:1:74: library is 'no.so': expected a file that is there, by its path from this "
     "one"},
    {"devices: [{name: a, kind: emulated, profile: no, plug_in: {option: 1}}]",
     "node.yaml:1:46: profile is 'no': expected a file that is there, by its path from this one\n"
     "node.yaml:1:59: 'library' is missing: expected text of one line\n"
     "node.yaml:1:59: 'plug_in' of an emulated device: expected kind: cpu or accelerator, or no "
     "such key\n"
     "node.yaml:1:60: unknown key 'option' (did you mean 'options'?): expected one of: library, "
     "options"},
    {"devices: [{name: a, kind: accelerator, cores: [1], provider: {name: CUDA, hardware: gpu}}]",
     "node.yaml:1:47: 'cores' of a device of kind accelerator: expected no such key: it takes "
     "none\n"
     "node.yaml:1:85: 'hardware' of a provider without 'library': expected it in 'options', as the "
     "provider calls it"},
    {"devices: [{name: a, kind: cpu, slots: 0}]",
     "node.yaml:1:39: slots is '0': expected an integer from 1 to 1024"},
    {"devices: [{name: a, kind: cpu, slots: 2, threads: 2, cores: [0, 1, 2]}]",
     "node.yaml:1:39: device 'a' runs 2 x 2 threads at once on 3 cores: expected slots x threads "
     "up to the number of cores"},
    {"devices: [{name: a, kind: cpu, threads: 2, cores: [0]}]",
     "node.yaml:1:41: device 'a' runs 1 x 2 threads at once on 1 cores: expected slots x threads "
     "up to the number of cores"},
    {"devices: [{name: a, kind: cpu, cores: [0, 0]}, {name: b, kind: cpu, cores: [0]}]",
     "node.yaml:1:43: core 0 is given to device 'a' already: expected each core once\n"
     "node.yaml:1:77: core 0 is given to device 'a' already: expected each core once"},
    {"devices: [{name: a, kind: cpu, emulates: 1, compute: true}]",
     "node.yaml:1:42: 'emulates' of a device that is not emulated: expected kind: emulated, or no "
     "such key\n"
     "node.yaml:1:54: 'compute' of a device that is not emulated: expected kind: emulated, or no "
     "such key"},
    {"devices: [{name: a, kind: emulated, threads: 2}]",
     "node.yaml:1:11: 'profile' is missing: expected text of one line\n"
     "node.yaml:1:46: 'threads' of an emulated device that computes nothing: expected compute: "
     "true "
     "beside it, or no such key"},
    {"devices: [{name: a, kind: emulated, profile: gone.yaml}]",
     "node.yaml:1:46: profile is 'gone.yaml': expected a file that is there, by its path from this "
     "one"},
    {"applications: [{model: m}]", "node.yaml:1:16: 'name' is missing: expected text of one line"},
    {"applications: [{name: a}]", "node.yaml:1:16: 'model' is missing: expected text of one line"},
    {"applications: [{name: a, model: m}, {name: a, model: m}]",
     "node.yaml:1:44: name 'a' is given again: expected each name once"},
    {"applications: [{name: a, model: m, weight: 0}]",
     "node.yaml:1:44: weight is '0': expected a number above 0"},
    {"applications: [{name: a, model: m, weight: -1}]",
     "node.yaml:1:44: weight is '-1': expected a number above 0"},
    {"applications: [{name: a, model: m, on_miss: drop}]",
     "node.yaml:1:45: on_miss is 'drop': expected one of: refuse, serve-late, degrade"},
    {"applications: [{name: a, model: m, min_accuracy: 175}]",
     "node.yaml:1:50: min_accuracy is '175': expected a number from 0 to 100"},
    {"applications: [{name: a, model: m, on_miss: degrade, accuracy_budget: {answers: 0}}]",
     "node.yaml:1:71: 'mean_loss' is missing: expected a number from 0 to 100\n"
     "node.yaml:1:81: answers is '0': expected an integer from 1 to 1000000"},
    {"applications: [{name: a, model: m, accuracy_budget: {mean_loss: 1}}]",
     "node.yaml:1:53: accuracy_budget of an application that does not degrade: expected on_miss: "
     "degrade"},
    {"applications: [{name: a, model: m, rate: fast}]",
     "node.yaml:1:42: rate is 'fast': expected a rate per second, such as 100 or 100/s"},
    {"placement: {m: [cpu, gpu, cpu]}",
     "node.yaml:1:22: there is no device 'gpu': expected one of: cpu\n"
     "node.yaml:1:27: device 'cpu' is given again: expected each device once"},
    {"placement: {m: []}", "node.yaml:1:16: m is empty: expected at least one element"},
    {"policy: {delay: 5ms}", "node.yaml:1:9: 'name' is missing: expected text of one line"},
    {"policy: {name: edf, delay: [1]}",
     "node.yaml:1:28: delay is a list: expected text of one line"},
    {"limits: {queue_requests: 0, body: -1}",
     "node.yaml:1:26: queue_requests is '0': expected an integer from 1 to 1000000\n"
     "node.yaml:1:35: body is '-1': expected a size in bytes, such as 512, 64kB or 8MiB"},
};
INSTANTIATE_TEST_SUITE_P(BadFiles, NodeConfigRefuses, testing::ValuesIn(kBadNode));

TEST(NodeConfig, TenFaultsAreTenLinesInTheOrderOfTheFile) {
  EXPECT_EQ(NodeFaults("devices:\n"
                       "  - {name: cpu, kind: cpu, slots: -1}\n"
                       "  - {name: cpu, kind: cpu, threads: many}\n"
                       "  - {name: x, kind: tpu}\n"
                       "applications:\n"
                       "  - {name: a, model: m, slo: 100}\n"
                       "  - {name: b, model: m, wieght: 2}\n"
                       "  - {name: c}\n"
                       "placement: {m: [gpu]}\n"
                       "polcy: {name: edf}\n"
                       "limits: {body: big}\n"),
            "node.yaml:2:35: slots is '-1': expected an integer from 1 to 1024\n"
            "node.yaml:3:12: name 'cpu' is given again: expected each name once\n"
            "node.yaml:3:37: threads is 'many': expected an integer from 1 to 1024\n"
            "node.yaml:4:21: kind is 'tpu': expected one of: cpu, accelerator, emulated\n"
            "node.yaml:6:30: slo is '100': expected a duration, such as 250us, 20ms or 1.5s\n"
            "node.yaml:7:25: unknown key 'wieght' (did you mean 'weight'?): expected one of: name, "
            "model, slo, timeout, weight, on_miss, accuracy_budget, min_accuracy, rate\n"
            "node.yaml:8:5: 'model' is missing: expected text of one line\n"
            "node.yaml:9:17: there is no device 'gpu': expected one of: cpu, cpu, x\n"
            "node.yaml:10:1: unknown key 'polcy' (did you mean 'policy'?): expected one of: "
            "devices, applications, placement, policy, limits\n"
            "node.yaml:11:16: body is 'big': expected a size in bytes, such as 512, 64kB or 8MiB");
}

VariantSpec Variant(std::string name, std::optional<double> accuracy) {
  VariantSpec variant;
  variant.name = std::move(name);
  variant.accuracy_pct = accuracy;
  return variant;
}

TEST(NodeConfig, IsCheckedAgainstTheModels) {
  ModelSpec fashion;
  fashion.name = "fashion";
  fashion.variants = {Variant("xxs", 88.02), Variant("unknown", std::nullopt),
                      Variant("ens2", 93.33)};
  ModelSpec magika;
  magika.name = "magika";
  magika.variants = {Variant("default", std::nullopt)};
  const std::vector<ModelSpec> models{fashion, magika};

  const TempFolder folder;
  const std::string profile = folder.Write("profile.yaml", "x: 1\n");
  Faults faults;
  const NodeConfig config = ParseNodeConfig(
      "applications:\n"
      "  - {name: a, model: fashion, min_accuracy: 93.33}\n"
      "  - {name: b, model: fashon}\n"
      "  - {name: c, model: fashion, min_accuracy: 93.34}\n"
      "  - {name: d, model: magika, min_accuracy: 0}\n"
      "  - {name: e, model: magika}\n"
      "placement:\n"
      "  fashion: [cpu]\n"
      "  silero: [cpu]\n"
      "devices: [{name: cpu, kind: emulated, profile: " +
          profile +
          ",\n"
          "  emulates: {kind: edgetpu, swap: {fasion: 1ms}}}]\n",
      "node.yaml", faults);
  ASSERT_EQ(faults.ToString(), "");
  CheckAgainstModels(config, models, faults);
  CheckFloors(config, models, faults);
  faults.Sort();
  EXPECT_EQ(
      faults.ToString(),
      "node.yaml:3:22: there is no model 'fashon' (did you mean 'fashion'?): expected one of: "
      "fashion, magika\n"
      "node.yaml:4:45: min_accuracy is 93.34, which no variant of 'fashion' reaches: expected "
      "at most 93.33, the accuracy of 'ens2'\n"
      "node.yaml:5:44: min_accuracy is 0, and no variant of 'magika' states its accuracy: "
      "expected an accuracy in the model's duly.yaml\n"
      "node.yaml:9:3: there is no model 'silero': expected one of: fashion, magika\n"
      "node.yaml:11:44: there is no model 'fasion' (did you mean 'fashion'?): expected one of: "
      "fashion, magika");
}

}  // namespace
}  // namespace duly
