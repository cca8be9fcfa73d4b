// SPDX-License-Identifier: Apache-2.0
#include "profile/board.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "base/temp_folder_test_util.h"
#include "profile/jetson_samples_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

constexpr const char* kWhole = R"(board: a board
sources: {paper: "a paper, table 3"}
rules: {half: half of that}
memory: {size: 4GiB, source: paper}
static_power: {watts: 2, source: paper}
devices:
  - name: gpu
    kind: timeslice
    clock: {steps: [500MHz, 1GHz], change: 650ms, source: paper}
    scaling: {a_gcycles: 1, b_gcycles: 2, c_s: 0.5, d_s: 0.5, error_pct: 4, rule: half}
    power: {dynamic_w: 8, one_row_w: 2, exponent: 2, error_pct: 3, source: paper}
    variants:
      - {model: m, variant: fp32, mean: 40ms, memory: 100MB, source: paper}
      - {model: m, variant: fp16, mean: 28ms, at: 500MHz, rule: half}
      - {model: n, variant: fp32, fit: {b_gcycles: 0.01, c_s: 0.001}, source: paper}
  - name: cpu
    kind: cpu
    cores: 4
    variants:
      - {model: m, variant: fp32, threads: 4, mean: 100ms, source: paper}
      - {model: m, variant: fp32, threads: 1, mean: 300ms, source: paper}
  - {name: tpu, kind: edgetpu, variants: [{model: m, variant: int8, mean: 5ms, swap: 10ms, source: paper}]}
)";

Board Whole() {
  Faults faults;
  Board board = ParseBoard(kWhole, "b.yaml", faults);
  EXPECT_TRUE(faults.empty()) << faults.ToString();
  return board;
}

std::string FaultsOf(std::string_view what, std::string_view by) {
  std::string text = kWhole;
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  Faults faults;
  ParseBoard(text.replace(at, what.size(), by), "b.yaml", faults);
  return faults.ToString();
}

TEST(Board, ServiceTimesFollowClockAndRows) {
  const Board board = Whole();
  const BoardDevice& gpu = *board.Find("gpu");
  ASSERT_THAT(gpu.clock_hz, ElementsAre(500'000'000U, 1'000'000'000U));
  EXPECT_EQ(gpu.clock_change, milliseconds(650));
  // (1 + 2 b)/f + 0.5 + 0.5 b: 4 at 1 GHz and one row, where 40 ms were measured.
  EXPECT_EQ(gpu.ServiceTime(gpu.variants[0], 1'000'000'000, 1), milliseconds(40));
  EXPECT_EQ(gpu.ServiceTime(gpu.variants[0], 1'000'000'000, 3), milliseconds(90));
  EXPECT_EQ(gpu.ServiceTime(gpu.variants[0], 500'000'000, 1), milliseconds(70));
  // Measured at the lower step, where it is 7.
  EXPECT_EQ(gpu.ServiceTime(gpu.variants[1], 500'000'000, 1), milliseconds(28));
  EXPECT_EQ(gpu.ServiceTime(gpu.variants[1], 1'000'000'000, 1), milliseconds(16));
  // A fit of its own.
  EXPECT_EQ(gpu.ServiceTime(gpu.variants[2], 500'000'000, 2), milliseconds(41));
  // Without scaling, rows one after another.
  const BoardDevice& cpu = *board.Find("cpu");
  EXPECT_EQ(cpu.ServiceTime(cpu.variants[0], 0, 3), milliseconds(300));
  EXPECT_EQ(board.Find("npu"), nullptr);
  EXPECT_DOUBLE_EQ(gpu.Watts(1'000'000'000, 1), 6);
  EXPECT_NEAR(gpu.Watts(500'000'000, 4), 7.5 / 4, 1e-12);
}

TEST(Board, ProfilesAreExactAtEveryBatch) {
  const Board board = Whole();
  const BoardDevice& gpu = *board.Find("gpu");
  const std::vector<VariantProfile> profiles = ProfileOf(gpu, "g", 500'000'000, 1);
  ASSERT_EQ(profiles.size(), 3U);
  EXPECT_EQ(profiles[0].device, "g");
  EXPECT_EQ(profiles[0].memory_bytes, 100'000'000U);
  const LatencyCurve curve = *LatencyCurve::Create(profiles[0].points);
  for (const std::uint32_t rows : {1U, 2U, 7U, 100U}) {
    EXPECT_EQ(curve.Mean(rows), gpu.ServiceTime(gpu.variants[0], 500'000'000, rows)) << rows;
  }
  // Of a CPU, those of the number of threads.
  const std::vector<VariantProfile> one_thread = ProfileOf(*board.Find("cpu"), "c", 0, 1);
  ASSERT_EQ(one_thread.size(), 1U);
  EXPECT_EQ(one_thread[0].points[0].mean, milliseconds(300));
  EXPECT_TRUE(ProfileOf(*board.Find("cpu"), "c", 0, 2).empty());
}

TEST(Board, EveryFigureNamesItsOrigin) {
  EXPECT_EQ(FaultsOf("mean: 40ms, memory: 100MB, source: paper", "mean: 40ms"),
            "b.yaml:13:9: a figure without an origin: expected 'source', or 'rule' of an estimate");
  EXPECT_EQ(FaultsOf("mean: 40ms, memory: 100MB, source: paper", "mean: 40ms, source: papre"),
            "b.yaml:13:55: there is no source 'papre': expected an entry of 'sources'");
  EXPECT_EQ(FaultsOf("at: 500MHz, rule: half", "at: 500MHz, rule: paper"),
            "b.yaml:14:65: there is no rule 'paper': expected an entry of 'rules'");
  EXPECT_EQ(FaultsOf("at: 500MHz, rule: half", "at: 500MHz, rule: half, source: paper"),
            "b.yaml:14:65: both a source and a rule: expected 'source', or 'rule' of an estimate");
  EXPECT_EQ(FaultsOf("rules: {half: half of that}", "rules: {half: half of that, odd: x}"),
            "b.yaml:3:29: 'odd' stands behind no figure: expected sources and rules that are used");
}

TEST(Board, FiguresThatCannotBeAreFaults) {
  EXPECT_EQ(FaultsOf("[500MHz, 1GHz]", "[1GHz, 500MHz]"),
            "b.yaml:9:27: 500MHz after 1000MHz: expected ascending steps\n"
            "b.yaml:14:51: 500MHz is no step of the clock: expected one of the device's 'clock'");
  EXPECT_EQ(FaultsOf("d_s: 0.5", "d_s: -5"),
            "b.yaml:10:14: one row takes 1.5 s at 500MHz, and two 0.5 s: expected more than 0, "
            "at most an hour, and not less for more rows");
  EXPECT_EQ(FaultsOf("one_row_w: 2", "one_row_w: 9"),
            "b.yaml:11:38: one row would take less than nothing: expected at most dynamic_w");
  EXPECT_EQ(FaultsOf("{model: n, variant: fp32", "{model: m, variant: fp32"),
            "b.yaml:15:9: 'fp32' of 'm' is given again: expected each variant once for a number of "
            "threads");
  EXPECT_EQ(FaultsOf("threads: 4", "threads: 5"),
            "b.yaml:20:44: threads is '5': expected an integer from 1 to 4");
  EXPECT_EQ(FaultsOf("swap: 10ms", "swop: 10ms"),
            "b.yaml:22:43: 'swap' is missing: expected a duration, such as 250us, 20ms or 1.5s\n"
            "b.yaml:22:80: unknown key 'swop' (did you mean 'swap'?): expected one of: model, "
            "variant, swap, memory, fit, mean, at, source, rule");
  EXPECT_EQ(FaultsOf("name: cpu", "name: gpu"),
            "b.yaml:16:11: name 'gpu' is given again: expected each name once");
  EXPECT_EQ(FaultsOf("    scaling: {a_gcycles: 1, b_gcycles: 2, c_s: 0.5, d_s: 0.5, error_pct: 4, "
                     "rule: half}\n",
                     ""),
            "b.yaml:7:5: a clock without 'scaling': expected what batches and clocks make of a "
            "service time");
}

std::map<std::string, Board> Catalogue() {
  std::map<std::string, Board> boards;
  for (const auto& entry : std::filesystem::directory_iterator(DULY_DEVICES)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".yaml" || name == "variants") continue;
    Faults faults;
    boards[name] = LoadBoard(entry.path().string(), faults);
    EXPECT_TRUE(faults.empty()) << faults.ToString();
  }
  return boards;
}

TEST(Catalogue, EveryBoardLoads) {
  const std::map<std::string, Board> boards = Catalogue();
  for (const char* name : {"agx-xavier", "coral-edgetpu", "jetson-nano", "jetson-tx2", "odroid-xu4",
                           "raspberry-pi-4", "rk3399", "rk3588", "x86-desktop"}) {
    EXPECT_TRUE(boards.contains(name)) << name;
  }
  for (const auto& [name, board] : boards) {
    for (const BoardDevice& device : board.devices) {
      std::vector<std::uint64_t> steps = device.clock_hz;
      if (steps.empty()) steps.push_back(0);
      std::set<std::uint32_t> threads;
      for (const BoardVariant& variant : device.variants) threads.insert(variant.threads);
      for (const std::uint32_t count : threads) {
        for (const VariantProfile& profile : ProfileOf(device, "d", steps.front(), count)) {
          EXPECT_TRUE(LatencyCurve::Create(profile.points).has_value()) << name << profile.model;
        }
      }
      // A faster clock is never slower, nor takes less power.
      for (std::size_t i = 1; i < steps.size(); ++i) {
        for (const BoardVariant& variant : device.variants) {
          EXPECT_LT(device.ServiceTime(variant, steps[i], 1),
                    device.ServiceTime(variant, steps[i - 1], 1))
              << name << "/" << device.name << " " << variant.model;
        }
        if (!device.power) continue;
        EXPECT_GT(device.Watts(steps[i], 1), device.Watts(steps[i - 1], 1))
            << name << "/" << device.name;
      }
    }
  }
}

// Names that two files spell differently would never meet.
TEST(Catalogue, AccuraciesAreOfVariantsThatRunSomewhere) {
  Faults faults;
  const std::vector<VariantFacts> facts = LoadVariantFacts(DULY_DEVICES "/variants.yaml", faults);
  ASSERT_TRUE(faults.empty()) << faults.ToString();
  std::set<std::pair<std::string, std::string>> run;
  for (const auto& [name, board] : Catalogue()) {
    for (const BoardDevice& device : board.devices) {
      for (const BoardVariant& variant : device.variants) {
        run.emplace(variant.model, variant.variant);
      }
    }
  }
  for (const VariantFacts& fact : facts) {
    EXPECT_TRUE(run.contains({fact.model, fact.variant})) << fact.model << " " << fact.variant;
  }
}

TEST(Catalogue, FaultsOfAccuraciesHaveTheirPlaces) {
  const TempFolder folder;
  Faults faults;
  const std::string file = folder.Write(
      "variants.yaml",
      "sources: {s: a source}\nvariants:\n- {model: m, variant: v, accuracy: 101, source: s}\n"
      "- {model: m, variant: v, accuracy: 1, source: t}\n");
  LoadVariantFacts(file, faults);
  EXPECT_EQ(faults.ToString(), fmt::format("{0}:3:36: accuracy is '101': expected a number from 0 "
                                           "to 100\n{0}:4:3: 'v' of 'm' is given again: expected "
                                           "each variant once\n{0}:4:47: there is no source 't': "
                                           "expected an entry of 'sources'",
                                           file));
}

// What the catalogue says of the two boards is what the measurements say.
TEST(Catalogue, FitsAreThoseOfTheMeasurements) {
  const std::map<std::string, Board> boards = Catalogue();
  for (const char* name : {"jetson-nano", "agx-xavier"}) {
    const std::vector<OperatingSample> samples = JetsonSamples(name);
    const LatencyFit latency = *FitLatency(samples);
    const PowerFit power = *FitPower(samples);
    const Board& board = boards.at(name);
    const BoardDevice& gpu = *board.Find("gpu");
    ASSERT_TRUE(gpu.variants[0].fit && gpu.scaling && gpu.power);
    for (const LatencyFit& written : {*gpu.variants[0].fit, *gpu.scaling}) {
      EXPECT_NEAR(written.a_gcycles, latency.a_gcycles, 1e-6);
      EXPECT_NEAR(written.b_gcycles, latency.b_gcycles, 1e-6);
      EXPECT_NEAR(written.c_s, latency.c_s, 1e-6);
      EXPECT_NEAR(written.d_s, latency.d_s, 1e-6);
      EXPECT_NEAR(written.error_pct, latency.error_pct, 0.01);
    }
    PowerFit written = *gpu.power;
    written.static_w = board.static_w;
    EXPECT_NEAR(written.exponent, power.exponent, 1e-3);
    EXPECT_NEAR(written.error_pct, power.error_pct, 0.01);
    for (const OperatingSample& sample : samples) {
      EXPECT_NEAR(written.Watts(sample.ghz, sample.rows), power.Watts(sample.ghz, sample.rows),
                  0.01);
    }
    // The clocks that were measured are steps of the ladder.
    for (const OperatingSample& sample : samples) {
      EXPECT_EQ(std::ranges::count(gpu.clock_hz,
                                   static_cast<std::uint64_t>(std::llround(sample.ghz * 1e9))),
                1)
          << sample.ghz;
    }
  }
}

}  // namespace
}  // namespace duly
