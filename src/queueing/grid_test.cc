// SPDX-License-Identifier: Apache-2.0
//
// Every model that Predict() asks, and every other formula, against a simulation of its mechanism,
// over mixes and loads;
// bench/queueing_grid.cc prints the same cases with longer runs.
#include <gtest/gtest.h>

#include <ostream>

#include "queueing/grid_test_util.h"

namespace duly::queueing {
// For GoogleTest, which finds it here.
void PrintTo(const GridCase& grid_case, std::ostream* out) { *out << grid_case.name; }
void PrintTo(const FormulaCase& formula, std::ostream* out) { *out << formula.name; }

namespace {

class Grid : public ::testing::TestWithParam<GridCase> {};

TEST_P(Grid, PredictionsMeetSimulationWithinTheirError) {
  // Of the grid on which exact percentiles are computed (workload.h).
  constexpr double kCell = 0.005;
  constexpr double kP95[] = {0.95};
  const GridCase& grid_case = GetParam();
  for (const double load : kGridLoads) {
    const std::vector<ServedClass> classes = AtLoad(grid_case, load);
    const Result<Prediction> prediction = Predict(grid_case.device, classes, kP95);
    ASSERT_TRUE(prediction);
    ASSERT_NEAR(prediction->utilization, load, 1e-9);
    const Mechanism mechanism = grid_case.device.mechanism;
    const bool is_shared = mechanism == Mechanism::kSliced || mechanism == Mechanism::kShared;
    // One queue is simulated quicker.
    const int requests = is_shared ? 60'000 : 400'000;
    const Responses responses = SimulateDevice(grid_case.device, classes, requests, 11);
    const bool is_high = load > 0.7;
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const Measured mean = MeanOf(responses[i]);
      const ClassPrediction& predicted = prediction->classes[i];
      EXPECT_NEAR(
          predicted.mean_s, mean.value,
          (is_high ? grid_case.mean_at_09 : grid_case.mean_to_07) * mean.value + mean.half_width)
          << "load " << load << ", class " << i;
      const Measured p95 = QuantileOf(responses[i], 0.95);
      const double p95_error = is_high ? grid_case.p95_at_09 : grid_case.p95_to_07;
      EXPECT_NEAR(predicted.quantiles_s[0], p95.value,
                  (p95_error + kCell) * p95.value + p95.half_width)
          << "load " << load << ", class " << i;
    }
  }
}

class Formula : public ::testing::TestWithParam<FormulaCase> {};

TEST_P(Formula, MeetsSimulationWithinItsError) {
  const FormulaCase& formula = GetParam();
  for (const double load : kGridLoads) {
    const bool is_high = load > 0.7;
    for (const Compared& one : formula.compare(load, 300'000, 11)) {
      const double seen = one.seen.value;
      const double below = is_high ? formula.below_at_09 : formula.below_to_07;
      const double above = is_high ? formula.above_at_09 : formula.above_to_07;
      EXPECT_GE(one.predicted, seen * (1 - below) - one.seen.half_width) << load << " " << one.what;
      EXPECT_LE(one.predicted, seen * (1 + above) + one.seen.half_width) << load << " " << one.what;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formulas, Formula, ::testing::ValuesIn(FormulaCases()));
INSTANTIATE_TEST_SUITE_P(Mixes, Grid, ::testing::ValuesIn(GridCases()));

}  // namespace
}  // namespace duly::queueing
