// SPDX-License-Identifier: Apache-2.0
#include "cli/predict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/temp_folder_test_util.h"
#include "cli/cli.h"
#include "cli/predict_mix.h"
#include "cli/testing/run_command.h"

namespace duly {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class PredictCommand : public ::testing::Test {
 protected:
  Ran Run(std::string_view yaml, const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments{"predict", folder_.Write("mix.yaml", yaml)};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const std::vector<Command> commands{{"predict", "", AddPredictCommand}};
    return RunCommand(arguments, commands);
  }
  json Json(std::string_view yaml, std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--json", "-"});
    const Ran ran = Run(yaml, flags);
    EXPECT_EQ(ran.exit, kExitDone) << ran.err;
    return json::parse(ran.out);
  }
  PredictMix Read(std::string_view yaml) {
    Faults faults;
    PredictMix mix = ReadPredictMix(folder_.Write("mix.yaml", yaml), faults);
    EXPECT_TRUE(faults.empty()) << faults.ToString();
    return mix;
  }

  TempFolder folder_;
};

TEST_F(PredictCommand, PredictsAnExponentialServer) {
  // M/M/1: mean 100 ms, p95 = -ln(0.05) times that.
  const json document = Json(
      "device: {kind: serial}\nclasses: [{name: a, rate: 40/s, service: 20ms, service_cv2: 1}]\n");
  EXPECT_EQ(document["stable"], true);
  EXPECT_NEAR(document["utilization"].get<double>(), 0.8, 1e-12);
  const json& one = document["classes"][0];
  EXPECT_EQ(one["name"], "a");
  EXPECT_NEAR(one["mean_ms"].get<double>(), 100, 1e-6);
  EXPECT_NEAR(one["p50_ms"].get<double>(), 69.3, 0.4);
  EXPECT_NEAR(one["p95_ms"].get<double>(), 299.6, 1);
  EXPECT_NEAR(one["p99_ms"].get<double>(), 460.5, 1.5);
  EXPECT_EQ(one.size(), 5U);
}

TEST_F(PredictCommand, TakesDevicesAndModelsOfTheCatalogue) {
  const std::string catalogue = "catalogue: " DULY_DEVICES "\n";
  const PredictMix top = Read(catalogue + R"(
device: {is: jetson-nano/gpu}
classes: [{name: a, rate: 5/s, is: resnet18/fp16}, {name: b, rate: 1/s, is: googlenet/fp16, service: 20ms}]
)");
  EXPECT_EQ(top.device.mechanism, queueing::Mechanism::kSliced);
  EXPECT_NEAR(top.classes[0].load.service.mean_s, 0.01083, 1e-6);
  EXPECT_NEAR(top.classes[1].load.service.mean_s, 0.020, 1e-9);
  const PredictMix slow = Read(catalogue + R"(
device: {is: jetson-nano/gpu, frequency: 460.8MHz}
classes: [{name: a, rate: 5/s, is: resnet18/fp16}]
)");
  EXPECT_GT(slow.classes[0].load.service.mean_s, 1.2 * top.classes[0].load.service.mean_s);
  const PredictMix tpu = Read(catalogue + R"(
device: {is: coral-edgetpu/tpu}
classes: [{name: a, rate: 5/s, is: mobilenet_v2/edgetpu}]
)");
  EXPECT_EQ(tpu.device.mechanism, queueing::Mechanism::kSwapping);
  EXPECT_NEAR(tpu.classes[0].load.swap_s, 0.01043, 1e-6);
  const PredictMix cpu = Read(catalogue + R"(
device: {is: jetson-nano/cpu, threads: 2}
classes: [{name: a, rate: 1/s, service: 50ms}]
)");
  EXPECT_EQ(cpu.device.servers, 2);
}

TEST_F(PredictCommand, NamesWhatTheCatalogueHasWhereSomethingIsMissing) {
  const std::string catalogue = "catalogue: " DULY_DEVICES "\n";
  const std::string classes = "classes: [{name: a, rate: 5/s, is: alexnet/fp16}]\n";
  const Ran model = Run(catalogue + "device: {is: jetson-nano/gpu}\n" + classes);
  EXPECT_EQ(model.exit, kExitUsage);
  EXPECT_THAT(model.err, HasSubstr("mix.yaml:3:36: the device has no 'alexnet/fp16'"));
  EXPECT_THAT(model.err, HasSubstr("resnet18/fp16"));
  const Ran device = Run("device: {is: jetson-nano/gpu}\n" + classes);
  EXPECT_THAT(device.err,
              HasSubstr("mix.yaml:1:14: 'jetson-nano/gpu' is of a catalogue, and there is none"));
  const Ran none = Run("device: {kind: serial}\n" + classes);
  EXPECT_THAT(none.err, HasSubstr("'is' of a device that is none of the catalogue"));
}

TEST_F(PredictCommand, TakesTheContractsExample) {
  const std::string_view yaml = R"(
device: {kind: edgetpu, cache: 8MiB, link: 320MiB/s}
classes:
  - {name: a, rate: 3.2, service: 95.1ms, service_cv2: 0.0, memory: 43MiB, on_chip: 6.0MiB, swap: 31ms}
  - {name: b, rate: 9.0, service: 2.9ms}
)";
  const json document = Json(yaml, {"--percentiles", "0.5,0.999"});
  // 3.2 (95.1 + 31 * 9 / 12.2) + 9 * 2.9 ms a second.
  EXPECT_NEAR(document["utilization"].get<double>(), 0.4036, 1e-4);
  EXPECT_EQ(document["classes"].size(), 2U);
  EXPECT_TRUE(document["classes"][1].contains("p99.9_ms"));
  EXPECT_FALSE(document["classes"][1].contains("p95_ms"));
  const Ran table = Run(yaml);
  EXPECT_EQ(table.exit, kExitDone);
  EXPECT_THAT(table.out, HasSubstr("class  rate/s  service ms  mean ms  p50 ms  p95 ms  p99 ms\n"));
  EXPECT_THAT(table.out, HasSubstr("utilization 0.404\n"));
}

TEST_F(PredictCommand, EveryKindAnswers) {
  for (const std::string kind : {"serial", "edgetpu", "timeslice", "concurrent", "cpu"}) {
    const json document =
        Json("device: {kind: " + kind +
             ", cores: 2, speedup: [1, 1.6]}\n"
             "classes:\n  - {name: a, rate: 10, service: 20ms, swap: 5ms, weight: 2}\n"
             "  - {name: b, rate: 10, service: 30ms, swap: 5ms}\n");
    EXPECT_EQ(document["stable"], true) << kind;
    EXPECT_GE(document["classes"][0]["mean_ms"].get<double>(), 20) << kind;
    EXPECT_GT(document["classes"][1]["p99_ms"].get<double>(), 30) << kind;
  }
}

TEST_F(PredictCommand, AnUnstableMixIsAnAnswer) {
  const std::string_view yaml =
      "device: {kind: serial}\nclasses: [{name: a, rate: 60, service: 20ms}]\n";
  const json document = Json(yaml);
  EXPECT_EQ(document["stable"], false);
  EXPECT_NEAR(document["utilization"].get<double>(), 1.2, 1e-12);
  EXPECT_EQ(document["classes"][0].size(), 1U);
  EXPECT_THAT(Run(yaml).out, HasSubstr("unstable"));
}

TEST_F(PredictCommand, ListsEveryFaultWithItsPlace) {
  const Ran ran = Run(R"(device: {kind: edgetpu, cache: 4MiB, link: 320MiB, speedup: [2], cores: 0}
classes:
  - {name: a, rate: -3, service: 95}
  - {name: a, rate: 0, service: 2ms, on_chip: 6MiB, memory: 5MiB}
  - {rate: 1e12, service: 2ms, swop: 1ms, service_cv2: -1}
  - {name: d, rate: 1, service: 2ms, host: 2ms, on_chip: 3MiB, resident: x}
  - {name: e, rate: 1, service: 2ms, on_chip: 3MiB, resident: x}
)",
                      {"--percentiles", "0.5,1"});
  EXPECT_EQ(ran.exit, kExitUsage);
  EXPECT_EQ(ran.out, "");
  for (const char* fault :
       {"--percentiles: 1 is no percentile", "mix.yaml:1:44: link is '320MiB'",
        "the first speedup is 2", "cores is '0'", ":3:21: rate is '-3'", "service is '95'",
        ":4:12: class 'a' is given again", ":4:21: the rate is 0", "6MiB on the chip",
        "more on the chip than memory", ":5:5: 'name' is missing", "the rate is 1000000000000",
        "unknown key 'swop'", "service_cv2 is '-1'", "the host takes as long",
        ":7:63: 6MiB on the chip: expected at most the cache of 4MiB"}) {
    EXPECT_THAT(ran.err, HasSubstr(fault));
  }
}

TEST_F(PredictCommand, RefusesFilesWithoutADeviceOrClasses) {
  EXPECT_THAT(Run("classes: []\n").err, HasSubstr("'device' is missing"));
  EXPECT_THAT(Run("device: nano\nclasses: [{name: a, rate: 1, service: 1ms}]\n").err,
              HasSubstr("1:9: the device is not a map: expected {kind: ...}"));
  EXPECT_EQ(Run("device: {kind: serial}\nclasses: []\n").exit, kExitUsage);
  EXPECT_THAT(Run("device: {kind: tpu}\nclasses: [{name: a, rate: 1, service: 1ms}]\n").err,
              HasSubstr("kind is 'tpu'"));
}

TEST_F(PredictCommand, SwapsAreGivenOrFollowFromTheSizeOnTheChip) {
  const PredictMix linked = Read(R"(
device: {kind: edgetpu, cache: 8MiB, link: 400MB/s}
classes:
  - {name: given, rate: 1, service: 9ms, on_chip: 4MB, swap: 3ms}
  - {name: over-link, rate: 1, service: 9ms, on_chip: 4MB}
  - {name: unknown, rate: 1, service: 9ms}
)");
  EXPECT_DOUBLE_EQ(linked.classes[0].load.swap_s, 0.003);
  EXPECT_DOUBLE_EQ(linked.classes[1].load.swap_s, 0.01);
  EXPECT_EQ(linked.classes[2].load.swap_s, 0);
  const PredictMix alone =
      Read("device: {kind: edgetpu}\nclasses: [{name: a, rate: 1, service: 9ms, on_chip: 4MB}]\n");
  EXPECT_DOUBLE_EQ(alone.classes[0].load.swap_s, 1.95e-3 + 4 * 2.30e-3);
}

TEST_F(PredictCommand, ResidentClassesShareASet) {
  const PredictMix mix = Read(R"(
device: {kind: edgetpu, cache: 8MiB}
classes:
  - {name: a, rate: 1, service: 9ms, on_chip: 4MiB, resident: x}
  - {name: b, rate: 1, service: 9ms, on_chip: 4MiB, resident: x}
  - {name: c, rate: 1, service: 9ms, on_chip: 4MiB, resident: y}
  - {name: d, rate: 1, service: 9ms, on_chip: 4MiB}
)");
  EXPECT_EQ(mix.classes[0].load.resident_set, mix.classes[1].load.resident_set);
  EXPECT_NE(mix.classes[0].load.resident_set, mix.classes[2].load.resident_set);
  EXPECT_EQ(mix.classes[3].load.resident_set, queueing::kNoSet);
}

}  // namespace
}  // namespace duly
