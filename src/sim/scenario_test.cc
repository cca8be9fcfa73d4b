// SPDX-License-Identifier: Apache-2.0
#include "sim/scenario.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/temp_folder_test_util.h"

namespace duly::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr const char* kWhole = R"(
about: everything that can be said
duration: 30s
warmup: 2s
seed: 7
load_factor: 1.5
policy: {name: fifo}
models:
  - {name: a, max_batch_size: 8, slo: 50ms, instances: 2,
     dynamic_batching: {max_queue_delay: 2ms, preferred_batch_size: [8, 4]},
     variants: [{name: big, accuracy: 80}, {name: small, accuracy: 70.5}], default_variant: small}
  - {name: b}
nodes:
  - name: board
    devices:
      - {name: gpu, kind: timeslice, noise: {cv: 0.1}, power: {idle_w: 2, busy_w: 9}}
      - {name: gpu2, kind: concurrent, speed: [1, 1.5, 1.8]}
      - {name: tpu, kind: edgetpu, swap: {a: 10ms, b: 4ms}, co_resident: [[a, b]]}
      - {name: big, kind: cpu, cores: 4, threads: 2, fail_every: 100}
      - {name: one, kind: serial, noise: exponential}
    profile:
      variants:
        - {model: a, variant: big, device: "*", points: [{rows: 1, mean: 5ms}, {rows: 8, mean: 20ms}]}
        - {model: b, variant: default, device: gpu, points: [{rows: 1, mean: 1ms}]}
    placement: {a: [gpu, tpu]}
    policy: {name: edf}
    limits: {queue_requests: 10}
    service_factor: 1.2
    batch_overhead: 50us
    link: {request: 1ms, response: 2ms}
applications:
  - {name: x, model: a, rate: 10/s, slo: 40ms, weight: 2, on_miss: degrade, nodes: [board]}
  - {name: y, model: b, rate: 5/s, arrivals: constant}
)";

std::string FaultsOf(const std::string& text) {
  Faults faults;
  ParseScenario(text, "s.yaml", faults);
  return faults.ToStatus().message();
}

std::string Replaced(std::string_view what, std::string_view by) {
  std::string text = kWhole;
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), by);
}

TEST(Scenario, ReadsAllThatItSays) {
  Faults faults;
  const Scenario scenario = ParseScenario(kWhole, "s.yaml", faults);
  ASSERT_TRUE(faults.empty()) << faults.ToStatus().message();
  EXPECT_EQ(scenario.duration, seconds(30));
  EXPECT_EQ(scenario.warmup, seconds(2));
  EXPECT_EQ(scenario.seed, 7U);
  EXPECT_EQ(scenario.load_factor, 1.5);
  ASSERT_EQ(scenario.models.size(), 2U);
  EXPECT_EQ(scenario.models[0].max_rows, 8U);
  EXPECT_EQ(scenario.models[0].instances, 2U);
  EXPECT_EQ(scenario.models[0].dynamic_batching->preferred_rows,
            (std::vector<std::uint32_t>{4, 8}));
  EXPECT_EQ(scenario.models[0].variants[1].accuracy_pct, 70.5);
  EXPECT_EQ(scenario.models[0].default_variant, 1U);
  EXPECT_EQ(scenario.models[1].variants[0].name, "default");

  const ScenarioNode& node = scenario.nodes[0];
  ASSERT_EQ(node.devices.size(), 5U);
  EXPECT_EQ(node.devices[0].behaviour.slots, 2U) << "a slot for each model";
  EXPECT_EQ(node.devices[0].behaviour.noise.cv, 0.1);
  EXPECT_EQ(node.devices[0].busy_w, 9);
  EXPECT_EQ(node.devices[1].behaviour.slots, 3U);
  EXPECT_EQ(node.devices[2].behaviour.swap.at("a"), milliseconds(10));
  EXPECT_EQ(node.devices[3].behaviour.slots, 2U);
  EXPECT_EQ(node.devices[4].behaviour.noise.kind, NoiseSpec::Kind::kExponential);
  EXPECT_EQ(node.policy.name, "edf");
  EXPECT_EQ(node.limits.queue_requests, 10U);
  EXPECT_EQ(node.service_factor, 1.2);
  EXPECT_EQ(node.batch_overhead, std::chrono::microseconds(50));
  EXPECT_EQ(node.from_node.latency, milliseconds(2));
  ASSERT_NE(node.profile.Find("a", "big", "one"), nullptr);

  EXPECT_EQ(scenario.applications[0].load.spec.on_miss, OnMiss::kDegrade);
  EXPECT_EQ(scenario.applications[0].load.spec.weight, 2);
  EXPECT_EQ(scenario.applications[0].nodes, (std::vector<std::string>{"board"}));
  EXPECT_EQ(scenario.applications[1].load.arrivals.kind, workload::ArrivalSpec::Kind::kConstant);
}

TEST(Scenario, UnknownKeysAndNamesAreFaultsWithAPlace) {
  EXPECT_THAT(FaultsOf(Replaced("batch_overhead", "batch_overhaed")),
              HasSubstr("s.yaml:29:5: unknown key 'batch_overhaed'"));
  EXPECT_THAT(FaultsOf(Replaced("nodes: [board]", "nodes: [bord]")),
              HasSubstr("there is no node 'bord': expected one of: board"));
  EXPECT_THAT(FaultsOf(Replaced("name: x, model: a", "name: x, model: c")),
              HasSubstr("there is no model 'c': expected one of: a, b"));
  EXPECT_THAT(FaultsOf(Replaced("default_variant: small", "default_variant: tiny")),
              HasSubstr("model 'a' has no variant 'tiny': expected one of: big, small"));
  EXPECT_THAT(FaultsOf(Replaced("{a: [gpu, tpu]}", "{a: [gpu, npu]}")),
              HasSubstr("there is no device 'npu'"));
  EXPECT_THAT(FaultsOf(Replaced("name: y", "name: x")), HasSubstr("'x' is given again"));
}

TEST(Scenario, DevicesThatCannotBeAreFaults) {
  EXPECT_THAT(FaultsOf(Replaced("speed: [1, 1.5, 1.8]", "speed: [1, 2.5]")),
              HasSubstr("speed[1] is '2.5': expected a number from 0.001 to 2"));
  EXPECT_THAT(FaultsOf(Replaced("speed: [1, 1.5, 1.8]", "speed: [0.5, 1]")),
              HasSubstr("the speed of one batch is not 1"));
  EXPECT_THAT(FaultsOf(Replaced("cores: 4, threads: 2", "cores: 1, threads: 2")),
              HasSubstr("2 threads on 1 cores"));
  EXPECT_THAT(FaultsOf(Replaced("co_resident: [[a, b]]", "co_resident: [[a], [a, b]]")),
              HasSubstr("'a' is in a set already"));
  EXPECT_THAT(FaultsOf(Replaced("swap: {a: 10ms, b: 4ms}, ", "")), HasSubstr("swap"));
}

TEST(Scenario, EventsThatCannotBeAreFaults) {
  const auto faults = [](const std::string& event) {
    return FaultsOf(Replaced("seed: 7", fmt::format("seed: 7\nevents: [{}]", event)));
  };
  EXPECT_EQ(faults("{at: 1s, load: a, node: board}"), "");
  EXPECT_THAT(faults("{at: 1s, load: z, node: board}"), HasSubstr("there is no model 'z'"));
  EXPECT_THAT(faults("{at: 1s, unload: a, node: bord}"), HasSubstr("there is no node 'bord'"));
  EXPECT_THAT(faults("{at: 1s, move: nobody, to: board}"),
              HasSubstr("there is no application 'nobody'"));
  EXPECT_THAT(faults("{at: 1s, load: a, unload: a, node: board}"),
              HasSubstr("an event does one thing"));
  EXPECT_THAT(faults("{load: a, node: board}"), HasSubstr("'at' is missing"));
  EXPECT_THAT(faults("{at: 1s, frequency: 1GHz, node: board, device: gpu}"),
              HasSubstr("the catalogue has no clock of this device"));
}

TEST(Scenario, AllFaultsAreListed) {
  std::string text = Replaced("duration: 30s", "duration: 30");
  text.replace(text.find("seed: 7"), 7, "seed: -7");
  const std::string faults = FaultsOf(text);
  EXPECT_THAT(faults, HasSubstr("s.yaml:3:11"));
  EXPECT_THAT(faults, HasSubstr("s.yaml:5:7"));
}

constexpr const char* kFromCatalogue = R"(
catalogue: devices
policy: {name: fifo}
models:
  - {name: detector, is: m, max_batch_size: 4, variants: [{name: best, is: [fp16, int8]}, {name: quick, is: int8, accuracy: 60}]}
  - {name: n}
nodes:
  - name: box
    devices:
      - {name: gpu, is: board/gpu, frequency: 500MHz, noise: {cv: 0.1}}
      - {name: cores, is: board/cpu, threads: 1}
      - {name: tpu, is: board/tpu}
      - {name: other, kind: serial}
    profile:
      variants:
        - {model: n, variant: default, device: other, points: [{rows: 1, mean: 9ms}]}
        - {model: detector, variant: best, device: cores, points: [{rows: 1, mean: 7ms}]}
applications: [{name: a, model: detector, rate: 1/s}, {name: b, model: n, rate: 1/s}]
)";

constexpr const char* kBoard = R"(
board: a board
sources: {s: somebody}
static_power: {watts: 2, source: s}
devices:
  - name: gpu
    kind: timeslice
    clock: {steps: [500MHz, 1GHz], source: s}
    scaling: {b_gcycles: 1, source: s}
    power: {dynamic_w: 8, one_row_w: 4, exponent: 1, source: s}
    variants: [{model: m, variant: fp16, mean: 10ms, source: s}]
  - name: cpu
    kind: cpu
    cores: 4
    power: {dynamic_w: 3, exponent: 0, source: s}
    variants:
      - {model: m, variant: fp16, threads: 1, mean: 40ms, source: s}
      - {model: m, variant: int8, threads: 1, mean: 30ms, source: s}
      - {model: m, variant: int8, threads: 4, mean: 12ms, source: s}
  - {name: tpu, kind: edgetpu, variants: [{model: m, variant: int8, mean: 5ms, swap: 6ms, source: s}]}
)";

class CatalogueScenarioTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.Write("devices/board.yaml", kBoard);
    folder_.Write(
        "devices/variants.yaml",
        "sources: {s: x}\nvariants:\n- {model: m, variant: fp16, accuracy: 70, source: s}\n");
  }
  Scenario Parse(std::string_view what = "", std::string_view by = "") {
    std::string text = kFromCatalogue;
    const std::size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    faults_ = Faults();
    return ParseScenario(text.replace(at, what.size(), by), folder_.At("s.yaml"), faults_);
  }

  TempFolder folder_;
  Faults faults_;
};

TEST_F(CatalogueScenarioTest, NamesADeviceAndGetsItsProfile) {
  const Scenario scenario = Parse();
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  EXPECT_EQ(scenario.models[0].variants[0].accuracy_pct, 70) << "of the first that has one";
  EXPECT_EQ(scenario.models[0].variants[1].accuracy_pct, 60) << "the scenario's own";
  const ScenarioNode& node = scenario.nodes[0];
  const auto mean = [&](std::string_view variant, std::string_view device) {
    const VariantProfile* const profile = node.profile.Find("detector", variant, device);
    return profile == nullptr ? Duration(0) : profile->points[0].mean;
  };
  // Half the clock.
  EXPECT_EQ(mean("best", "gpu"), milliseconds(20));
  EXPECT_EQ(mean("quick", "gpu"), Duration(0));
  EXPECT_EQ(mean("best", "cores"), milliseconds(7)) << "the scenario's own";
  EXPECT_EQ(mean("quick", "cores"), milliseconds(30));
  EXPECT_EQ(mean("best", "tpu"), milliseconds(5)) << "the second choice";

  const std::vector<ScenarioDevice>& devices = node.devices;
  EXPECT_EQ(devices[0].behaviour.mechanism, DeviceMechanism::kTimeslice);
  EXPECT_EQ(devices[0].idle_w, 2) << "of the board";
  EXPECT_NEAR(*devices[0].busy_w, 6, 1e-6);
  EXPECT_NEAR(devices[0].one_row_w, 2, 1e-6);
  EXPECT_EQ(devices[1].idle_w, 0) << "counted with the GPU";
  EXPECT_EQ(devices[1].behaviour.cores, 4U);
  EXPECT_EQ(devices[1].behaviour.slots, 4U);
  EXPECT_EQ(devices[2].behaviour.swap.at("detector"), milliseconds(6));
  EXPECT_EQ(devices[2].busy_w, std::nullopt) << "no figure";
}

TEST_F(CatalogueScenarioTest, WhatIsNotInItIsAFaultWithAPlace) {
  Parse("board/gpu", "board/npu");
  EXPECT_EQ(faults_.ToString(), folder_.At("s.yaml:10:25: board 'board' has no device 'npu': "
                                           "expected one of: gpu, cpu, tpu"));
  Parse("board/gpu", "bord/gpu");
  EXPECT_THAT(faults_.ToString(), HasSubstr("10:25: 'bord/gpu' is no device of the catalogue"));
  Parse("frequency: 500MHz", "frequency: 600MHz");
  EXPECT_EQ(faults_.ToString(), folder_.At("s.yaml:10:47: 600MHz is no step of the clock: expected "
                                           "one of: 500MHz, 1000MHz"));
  Parse("is: board/cpu", "is: board/cpu, frequency: 1GHz");
  EXPECT_THAT(faults_.ToString(), HasSubstr("the catalogue has no clock of this device"));
  Parse("{name: other, kind", "{name: other, frequency: 1GHz, kind");
  EXPECT_THAT(faults_.ToString(), HasSubstr("unknown key 'frequency'"));
  Parse("catalogue: devices", "");
  EXPECT_THAT(faults_.ToString(), HasSubstr("'board/gpu' is of a catalogue, and there is none"));
  // Faults of its files come with theirs.
  folder_.Write("devices/board.yaml", "board: x\ndevices: []\n");
  Parse();
  EXPECT_THAT(faults_.ToString(),
              HasSubstr(folder_.At("devices/board.yaml:2:10: devices is empty")));
}

}  // namespace
}  // namespace duly::sim
