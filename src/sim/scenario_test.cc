// SPDX-License-Identifier: Apache-2.0
#include "sim/scenario.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

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
  EXPECT_EQ(node.devices[0].slots, 2U) << "a slot for each model";
  EXPECT_EQ(node.devices[0].noise.cv, 0.1);
  EXPECT_EQ(node.devices[0].busy_w, 9);
  EXPECT_EQ(node.devices[1].slots, 3U);
  EXPECT_EQ(node.devices[2].swap.at("a"), milliseconds(10));
  EXPECT_EQ(node.devices[3].slots, 2U);
  EXPECT_EQ(node.devices[4].noise.kind, NoiseSpec::Kind::kExponential);
  EXPECT_EQ(node.policy.name, "edf");
  EXPECT_EQ(node.limits.queue_requests, 10U);
  EXPECT_EQ(node.service_factor, 1.2);
  EXPECT_EQ(node.batch_overhead, std::chrono::microseconds(50));
  EXPECT_EQ(node.from_node, milliseconds(2));
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

TEST(Scenario, AllFaultsAreListed) {
  std::string text = Replaced("duration: 30s", "duration: 30");
  text.replace(text.find("seed: 7"), 7, "seed: -7");
  const std::string faults = FaultsOf(text);
  EXPECT_THAT(faults, HasSubstr("s.yaml:3:11"));
  EXPECT_THAT(faults, HasSubstr("s.yaml:5:7"));
}

}  // namespace
}  // namespace duly::sim
