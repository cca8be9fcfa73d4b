// SPDX-License-Identifier: Apache-2.0
#include "workload/mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/temp_folder_test_util.h"

namespace duly::workload {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ReadMixTest : public ::testing::Test {
 protected:
  Mix Read(std::string_view text) {
    faults_ = Faults();
    return ReadMix(folder_.Write("mix.yaml", text), faults_);
  }

  TempFolder folder_;
  Faults faults_;
};

TEST_F(ReadMixTest, ReadsEveryKey) {
  folder_.Write("cats.yaml", "rows: 1\n");
  const Mix mix = Read(R"(
url: http://127.0.0.1:8000
duration: 30s
warmup: 2s
seed: 9
load_factor: 1.5
applications:
  - {name: detector, model: lite, rate: 20/s, slo: 100ms, inputs: cats.yaml, rows: 2}
  - name: vad
    model: silero
    rate: 200
    timeout: 30ms
    min_accuracy: 75
    arrivals: {kind: onoff, on: 1s, off: 2s}
    cancel: {share: 0.1, after: 5ms}
)");
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  EXPECT_EQ(mix.url, "http://127.0.0.1:8000");
  EXPECT_EQ(mix.duration, std::chrono::seconds(30));
  EXPECT_EQ(mix.warmup, std::chrono::seconds(2));
  EXPECT_EQ(mix.seed, 9U);
  EXPECT_EQ(mix.load_factor, 1.5);
  ASSERT_EQ(mix.applications.size(), 2U);
  const ApplicationLoad& detector = mix.applications[0];
  EXPECT_EQ(detector.spec.name, "detector");
  EXPECT_EQ(detector.spec.model, "lite");
  EXPECT_EQ(detector.spec.rate_per_s, 20);
  EXPECT_EQ(detector.spec.slo, std::chrono::milliseconds(100));
  EXPECT_EQ(detector.spec.timeout, std::nullopt);
  EXPECT_EQ(detector.inputs_file, folder_.At("cats.yaml"));
  EXPECT_EQ(detector.rows, 2U);
  EXPECT_EQ(detector.arrivals.kind, ArrivalSpec::Kind::kPoisson);
  EXPECT_EQ(detector.cancel_share, 0);
  const ApplicationLoad& vad = mix.applications[1];
  EXPECT_EQ(vad.spec.timeout, std::chrono::milliseconds(30));
  EXPECT_EQ(vad.spec.min_accuracy_pct, 75);
  EXPECT_EQ(vad.arrivals.kind, ArrivalSpec::Kind::kOnOff);
  EXPECT_EQ(vad.arrivals.off, std::chrono::seconds(2));
  EXPECT_EQ(vad.cancel_share, 0.1);
  EXPECT_EQ(vad.cancel_after, std::chrono::milliseconds(5));
}

TEST_F(ReadMixTest, WhatIsNotSaidStaysUnset) {
  const Mix mix = Read("applications: [{name: a, model: m, rate: 1}]\n");
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  EXPECT_EQ(mix.url, std::nullopt);
  EXPECT_EQ(mix.duration, std::nullopt);
  EXPECT_EQ(mix.warmup, std::nullopt);
  EXPECT_EQ(mix.seed, std::nullopt);
  EXPECT_EQ(mix.load_factor, std::nullopt);
}

TEST_F(ReadMixTest, ATraceBringsItsRateUnlessOneIsAskedFor) {
  folder_.Write("t.csv", "arrival_s\n0\n1\n4\n");
  const Mix mix = Read(R"(
applications:
  - {name: recorded, model: m, arrivals: t.csv}
  - {name: fast, model: m, arrivals: {kind: trace, file: t.csv, speed: 4}}
  - {name: rated, model: m, arrivals: t.csv, rate: 7}
)");
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  EXPECT_DOUBLE_EQ(mix.applications[0].spec.rate_per_s, 0.5);
  EXPECT_DOUBLE_EQ(mix.applications[1].spec.rate_per_s, 2);
  EXPECT_DOUBLE_EQ(mix.applications[2].spec.rate_per_s, 7);
}

TEST_F(ReadMixTest, ReadsWhatArrivalsNeed) {
  const Mix mix = Read(R"(
applications:
  - {name: a, model: m, rate: 9, arrivals: {kind: markov, states: [{weight: 1, dwell: 10s}, {weight: 0, dwell: 2s}]}}
  - {name: b, model: m, rate: 9, arrivals: {kind: diurnal, period: 1h, depth: 0.9, phase: 0.25}}
  - {name: c, model: m, rate: 9, arrivals: {kind: diurnal, depth: 1}}
)");
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  const ArrivalSpec& markov = mix.applications[0].arrivals;
  ASSERT_EQ(markov.states.size(), 2U);
  EXPECT_EQ(markov.states[0].dwell, std::chrono::seconds(10));
  EXPECT_EQ(markov.states[1].weight, 0);
  const ArrivalSpec& diurnal = mix.applications[1].arrivals;
  EXPECT_EQ(diurnal.period, std::chrono::hours(1));
  EXPECT_EQ(diurnal.depth, 0.9);
  EXPECT_EQ(diurnal.phase, 0.25);
  EXPECT_EQ(mix.applications[2].arrivals.period, std::chrono::hours(24));

  Read(R"(
applications:
  - {name: a, model: m, rate: 9, arrivals: {kind: markov, states: [{weight: 1, dwell: 1s}]}}
  - {name: b, model: m, rate: 9, arrivals: {kind: markov, states: [{weight: 0, dwell: 1s}, {weight: 0, dwell: 0s}]}}
  - {name: c, model: m, rate: 9, arrivals: {kind: markov}}
  - {name: d, model: m, rate: 9, arrivals: {kind: diurnal, depth: 1.5, states: []}}
)");
  EXPECT_THAT(faults_.ToString(),
              AllOf(HasSubstr(":3:67: fewer than two states"), HasSubstr(":4:67: no state has"),
                    HasSubstr("dwell is '0s'"), HasSubstr(":5:44: 'states' is missing"),
                    HasSubstr("depth is '1.5'"), HasSubstr("unknown key 'states'")));
  EXPECT_EQ(faults_.all().size(), 6U) << faults_.ToString();
}

TEST_F(ReadMixTest, ListsEveryFaultWithItsPlace) {
  folder_.Write("bad.csv", "0\nsoon\n");
  folder_.Write("t.csv", "0\n1\n");
  Read(R"(duration: 30
applications:
  - {name: a, model: m, rate: 0}
  - {name: a, model: m, rate: 1, arrivals: poison}
  - {name: b, rate: 1, slo: 0ms, rows: 0, inputs: none.yaml}
  - {name: c, model: m, arrivals: bad.csv}
  - {name: d, model: m, min_accuracy: 175, cancel: {share: 2}}
  - {name: e, model: m, rate: 3, arrivals: {kind: trace, file: t.csv, speed: 2}}
  - {name: f, model: m, rate: 3, arrivals: {kind: poisson, on: 1s}}
)");
  EXPECT_THAT(
      faults_.ToString(),
      AllOf(HasSubstr("mix.yaml:1:11: duration is '30'"), HasSubstr(":3:31: the rate is 0"),
            HasSubstr(":4:5: application 'a' is given again"), HasSubstr("'poison' is no arrival"),
            HasSubstr(":5:5: 'model' is missing"), HasSubstr("slo is '0ms'"),
            HasSubstr("rows is '0'"), HasSubstr("inputs is 'none.yaml'"),
            HasSubstr("bad.csv:2:1: 'soon' is not a time")));
  EXPECT_THAT(
      faults_.ToString(),
      AllOf(HasSubstr(":7:5: 'rate' is missing"), HasSubstr("min_accuracy is '175'"),
            HasSubstr("share is '2'"), HasSubstr("'after' is missing"),
            HasSubstr(":8:31: both a rate and a trace's speed"), HasSubstr("unknown key 'on'")));
  EXPECT_EQ(faults_.all().size(), 15U) << faults_.ToString();
}

TEST_F(ReadMixTest, AMixNeedsApplications) {
  Read("applications: []\n");
  EXPECT_THAT(faults_.ToString(), HasSubstr("no application: expected at least one"));
  Read("duration: 1s\n");
  EXPECT_THAT(faults_.ToString(), HasSubstr("'applications' is missing"));
}

}  // namespace
}  // namespace duly::workload
