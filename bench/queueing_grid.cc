// SPDX-License-Identifier: Apache-2.0
//
// How far Predict() is from simulations of the mechanisms: the cases of queueing/grid_test_util.h,
// with long runs, as the table of docs/benchmarks.md. A number of requests as the only argument.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "queueing/grid_test_util.h"

namespace {

using duly::queueing::AtLoad;
using duly::queueing::Estimate;

constexpr double kQuantiles[] = {0.95, 0.99};

// The error of largest size of a case's classes, and its interval's half width.
struct Worst {
  double error_pct = 0;
  double half_width_pct = 0;
  void Take(double predicted, const Estimate& seen) {
    const double error = 100 * (predicted / seen.value - 1);
    if (std::abs(error) < std::abs(error_pct)) return;
    error_pct = error;
    half_width_pct = 100 * seen.half_width / seen.value;
  }
  std::string Text() const { return fmt::format("{:+.1f} ({:.1f})", error_pct, half_width_pct); }
};

}  // namespace

int main(int argc, char** argv) {
  int requests = 1'000'000;
  if (argc > 1) {
    const std::string_view text = argv[1];
    if (std::from_chars(text.data(), text.data() + text.size(), requests).ec != std::errc() ||
        requests < 10'000) {
      fmt::print(stderr, "{}: expected a number of requests from 10000 on\n", text);
      return 2;
    }
  }
  fmt::print("| case | figure | 0.3 | 0.5 | 0.7 | 0.9 |\n| --- | --- | --- | --- | --- | --- |\n");
  for (const duly::queueing::GridCase& one : duly::queueing::GridCases()) {
    std::string rows[3];
    for (const double load : duly::queueing::kGridLoads) {
      const auto classes = AtLoad(one, load);
      const auto predicted = Predict(one.device, classes, kQuantiles);
      if (!predicted) {
        fmt::print(stderr, "{}: {}\n", one.name, predicted.error().message());
        return 1;
      }
      const auto responses = SimulateDevice(one.device, classes, requests, 1);
      Worst worst[3];
      for (std::size_t i = 0; i < classes.size(); ++i) {
        worst[0].Take(predicted->classes[i].mean_s, duly::queueing::MeanOf(responses[i]));
        for (std::size_t q = 0; q < 2; ++q) {
          worst[q + 1].Take(predicted->classes[i].quantiles_s[q],
                            duly::queueing::QuantileOf(responses[i], kQuantiles[q]));
        }
      }
      for (std::size_t f = 0; f < 3; ++f) rows[f] += " " + worst[f].Text() + " |";
    }
    const char* const figures[] = {"mean", "p95", "p99"};
    for (std::size_t f = 0; f < 3; ++f) {
      fmt::print("| {} | {} |{}\n", f == 0 ? one.name : "", figures[f], rows[f]);
    }
  }
  return 0;
}
