// SPDX-License-Identifier: Apache-2.0
#include "profile/operating_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <vector>

#include "profile/jetson_samples_test_util.h"

namespace duly {
namespace {

constexpr LatencyFit kLatency{0.05, 0.08, 0.03, 0.02, 0};
constexpr PowerFit kPower{2.5, 4.5, 0.3, 1.7, 0};

// Six clocks and four batch sizes of a device that is exactly of the form.
std::vector<OperatingSample> Made() {
  std::vector<OperatingSample> samples;
  for (const double ghz : {0.1, 0.3, 0.5, 0.7, 0.9, 1.1}) {
    for (const std::uint32_t rows : {1U, 2U, 8U, 32U}) {
      samples.push_back({ghz, rows, kLatency.Seconds(ghz, rows), kPower.Watts(ghz, rows)});
    }
  }
  return samples;
}

TEST(OperatingFit, PowerFollowsClockAndRows) {
  EXPECT_NEAR(kPower.Watts(0.5, 4), 2.5 + (4.5 - 0.3 / 4) * std::pow(0.5, 1.7), 1e-12);
}

TEST(OperatingFit, FindsWhatMadeTheSamples) {
  const Result<LatencyFit> latency = FitLatency(Made());
  ASSERT_TRUE(latency.has_value()) << latency.error().message();
  EXPECT_NEAR(latency->a_gcycles, kLatency.a_gcycles, 1e-9);
  EXPECT_NEAR(latency->b_gcycles, kLatency.b_gcycles, 1e-9);
  EXPECT_NEAR(latency->c_s, kLatency.c_s, 1e-9);
  EXPECT_NEAR(latency->d_s, kLatency.d_s, 1e-9);
  EXPECT_NEAR(latency->error_pct, 0, 1e-6);

  const Result<PowerFit> power = FitPower(Made());
  ASSERT_TRUE(power.has_value()) << power.error().message();
  EXPECT_NEAR(power->exponent, kPower.exponent, 1e-9);
  EXPECT_NEAR(power->static_w, kPower.static_w, 1e-6);
  EXPECT_NEAR(power->dynamic_w, kPower.dynamic_w, 1e-6);
  EXPECT_NEAR(power->one_row_w, kPower.one_row_w, 1e-6);
  EXPECT_NEAR(power->error_pct, 0, 1e-6);
}

TEST(OperatingFit, ErrorIsTheMeanAbsoluteOne) {
  const std::vector<OperatingSample> samples = {{1, 1, kLatency.Seconds(1, 1) / 1.1, 1},
                                                {1, 2, kLatency.Seconds(1, 2) / 0.8, 1}};
  EXPECT_NEAR(ErrorPct(kLatency, samples), 15, 1e-9);
}

// The minimum of the relative error: any step away from it is worse.
TEST(OperatingFit, NoNeighbourIsBetter) {
  const std::vector<OperatingSample> samples = JetsonSamples("jetson-nano");
  const auto error = [&](const LatencyFit& fit) {
    double sum = 0;
    for (const OperatingSample& sample : samples) {
      sum += std::pow(fit.Seconds(sample.ghz, sample.rows) / sample.seconds - 1, 2);
    }
    return sum;
  };
  const LatencyFit fit = *FitLatency(samples);
  for (double LatencyFit::*term :
       {&LatencyFit::a_gcycles, &LatencyFit::b_gcycles, &LatencyFit::c_s, &LatencyFit::d_s}) {
    for (const double step : {-1e-4, 1e-4}) {
      LatencyFit moved = fit;
      moved.*term += step;
      EXPECT_GT(error(moved), error(fit));
    }
  }
}

TEST(OperatingFit, SamplesThatDetermineNothingAreRefused) {
  EXPECT_FALSE(FitLatency({}).has_value());
  EXPECT_FALSE(FitPower({}).has_value());
  std::vector<OperatingSample> one_clock = Made();
  std::erase_if(one_clock, [](const OperatingSample& s) { return s.ghz != 0.5; });
  EXPECT_EQ(FitLatency(one_clock).error().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(FitPower(one_clock).has_value());
  std::vector<OperatingSample> one_batch = Made();
  std::erase_if(one_batch, [](const OperatingSample& s) { return s.rows != 2; });
  EXPECT_FALSE(FitLatency(one_batch).has_value());
  EXPECT_FALSE(FitPower(one_batch).has_value());
  for (const OperatingSample bad :
       {OperatingSample{0, 1, 1, 1}, OperatingSample{1, 0, 1, 1}, OperatingSample{1, 1, 0, -1},
        OperatingSample{1, 1, NAN, NAN}}) {
    std::vector<OperatingSample> samples = Made();
    samples.push_back(bad);
    EXPECT_FALSE(FitLatency(samples).has_value());
    EXPECT_FALSE(FitPower(samples).has_value());
  }
}

// A sweep of a real board at every second step of its clock predicts the steps between, at every
// number of requests outstanding.
TEST(OperatingFit, PredictsTheClocksBetween) {
  for (const auto& [board, clocks] : {std::tuple{"jetson-nano", 11U}, {"agx-xavier", 14U}}) {
    const std::vector<OperatingSample> all = JetsonSamples(board);
    std::set<double> steps;
    for (const OperatingSample& sample : all) steps.insert(sample.ghz);
    ASSERT_EQ(steps.size(), clocks);
    for (const std::ptrdiff_t parity : {0, 1}) {
      std::vector<OperatingSample> known;
      std::vector<OperatingSample> asked;
      for (const OperatingSample& sample : all) {
        const auto step = std::distance(steps.begin(), steps.find(sample.ghz));
        (step % 2 == parity ? known : asked).push_back(sample);
      }
      const Result<LatencyFit> latency = FitLatency(known);
      const Result<PowerFit> power = FitPower(known);
      ASSERT_TRUE(latency && power);
      const std::string which = fmt::format("{} from steps {}, {}, ...", board, parity, parity + 2);
      RecordProperty(fmt::format("{} latency", which),
                     fmt::format("{:.2f} %", ErrorPct(*latency, asked)));
      RecordProperty(fmt::format("{} power", which),
                     fmt::format("{:.2f} %", ErrorPct(*power, asked)));
      EXPECT_LE(ErrorPct(*latency, asked), 5.5) << which;
      EXPECT_LE(ErrorPct(*power, asked), 6.5) << which;
    }
  }
}

}  // namespace
}  // namespace duly
