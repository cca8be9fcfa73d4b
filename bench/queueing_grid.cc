// SPDX-License-Identifier: Apache-2.0
//
// How far Predict() and the other formulas are from simulations of the mechanisms: the cases of
// queueing/grid_test_util.h, with long runs, as the table of docs/benchmarks.md. A number of
// requests as the only argument.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "queueing/grid_test_util.h"

namespace {

using duly::queueing::AtLoad;
using duly::queueing::Measured;

constexpr double kQuantiles[] = {0.95, 0.99};

// The error of largest size of a case's classes, and its interval's half width.
struct Worst {
  double error_pct = 0;
  double half_width_pct = 0;
  void Take(double predicted, const Measured& seen) {
    const double error = 100 * (predicted / seen.value - 1);
    if (std::abs(error) < std::abs(error_pct)) return;
    error_pct = error;
    half_width_pct = 100 * seen.half_width / seen.value;
  }
  std::string Text() const { return fmt::format("{:+.1f} ({:.1f})", error_pct, half_width_pct); }
};

// Rows of one case, for each figure its errors by load.
class Rows {
 public:
  void Add(std::string_view figure, const std::string& text) {
    for (auto& [known, row] : rows_) {
      if (known == figure) {
        row += " " + text + " |";
        return;
      }
    }
    rows_.emplace_back(figure, " " + text + " |");
  }
  void Print(const std::string& name) const {
    for (std::size_t f = 0; f < rows_.size(); ++f) {
      fmt::print("| {} | {} |{}\n", f == 0 ? name : "", rows_[f].first, rows_[f].second);
    }
    std::fflush(stdout);
  }

 private:
  std::vector<std::pair<std::string, std::string>> rows_;
};

int PrintDevices(int requests) {
  for (const duly::queueing::GridCase& one : duly::queueing::GridCases()) {
    Rows rows;
    for (const double load : duly::queueing::kGridLoads) {
      const auto classes = AtLoad(one, load);
      const auto predicted = Predict(one.device, classes, kQuantiles);
      if (!predicted) {
        fmt::print(stderr, "{}: {}\n", one.name, predicted.error().message());
        return 1;
      }
      const auto responses = SimulateDevice(one.device, classes, requests, 1);
      Worst mean;
      Worst quantiles[std::size(kQuantiles)];
      for (std::size_t i = 0; i < classes.size(); ++i) {
        mean.Take(predicted->classes[i].mean_s, duly::queueing::MeanOf(responses[i]));
        for (std::size_t q = 0; q < std::size(kQuantiles); ++q) {
          quantiles[q].Take(predicted->classes[i].quantiles_s[q],
                            duly::queueing::QuantileOf(responses[i], kQuantiles[q]));
        }
      }
      rows.Add("mean", mean.Text());
      for (std::size_t q = 0; q < std::size(kQuantiles); ++q) {
        rows.Add(fmt::format("p{:g}", 100 * kQuantiles[q]), quantiles[q].Text());
      }
    }
    rows.Print(one.name);
  }
  return 0;
}

void PrintFormulas(int requests) {
  for (const duly::queueing::FormulaCase& one : duly::queueing::FormulaCases()) {
    Rows rows;
    for (const double load : duly::queueing::kGridLoads) {
      std::vector<std::pair<std::string, Worst>> figures;
      for (const duly::queueing::Compared& compared : one.compare(load, requests, 1)) {
        if (figures.empty() || figures.back().first != compared.what) {
          figures.emplace_back(compared.what, Worst());
        }
        figures.back().second.Take(compared.predicted, compared.seen);
      }
      for (const auto& [figure, worst] : figures) rows.Add(figure, worst.Text());
    }
    rows.Print(one.name);
  }
}

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
  const int rc = PrintDevices(requests);
  if (rc == 0) PrintFormulas(requests);
  return rc;
}
