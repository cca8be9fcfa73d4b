// SPDX-License-Identifier: Apache-2.0
#include "profile/operating_fit.h"

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace duly {
namespace {

template <std::size_t kTerms>
struct Equation {
  std::array<double, kTerms> terms;
  double value;
};

// The coefficients x that make the sum of (terms . x - value)^2 least, by QR with modified
// Gram-Schmidt (Björck, 1967): its error grows with the condition of the columns, that of normal
// equations with its square. Nothing where a column depends on those before it.
template <std::size_t kTerms>
std::optional<std::array<double, kTerms>> LeastSquares(std::vector<Equation<kTerms>> equations) {
  constexpr double kDependent = 1e-9;
  std::array<std::array<double, kTerms>, kTerms> r{};
  std::array<double, kTerms> projected{};
  std::array<double, kTerms> norm2_before{};
  for (const Equation<kTerms>& row : equations) {
    for (std::size_t j = 0; j < kTerms; ++j) norm2_before[j] += row.terms[j] * row.terms[j];
  }
  for (std::size_t j = 0; j < kTerms; ++j) {
    double norm2 = 0;
    for (const Equation<kTerms>& row : equations) norm2 += row.terms[j] * row.terms[j];
    if (!(norm2 > kDependent * kDependent * norm2_before[j])) return std::nullopt;
    r[j][j] = std::sqrt(norm2);
    for (Equation<kTerms>& row : equations) row.terms[j] /= r[j][j];
    // Takes this direction out of the columns to come, and out of the values.
    for (std::size_t k = j + 1; k < kTerms; ++k) {
      for (const Equation<kTerms>& row : equations) r[j][k] += row.terms[j] * row.terms[k];
      for (Equation<kTerms>& row : equations) row.terms[k] -= r[j][k] * row.terms[j];
    }
    for (const Equation<kTerms>& row : equations) projected[j] += row.terms[j] * row.value;
    for (Equation<kTerms>& row : equations) row.value -= projected[j] * row.terms[j];
  }
  std::array<double, kTerms> x = projected;
  for (std::size_t j = kTerms; j-- > 0;) {
    for (std::size_t k = j + 1; k < kTerms; ++k) x[j] -= r[j][k] * x[k];
    x[j] /= r[j][j];
  }
  return x;
}

Status Check(std::span<const OperatingSample> samples, double OperatingSample::*figure) {
  for (const OperatingSample& sample : samples) {
    const double value = sample.*figure;
    if (!(sample.ghz > 0) || sample.rows == 0 || !(value > 0) || !std::isfinite(sample.ghz) ||
        !std::isfinite(value)) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("a sample of {} rows at {} GHz with {}: expected all above 0",
                                sample.rows, sample.ghz, value));
    }
  }
  return {};
}

tl::unexpected<Status> Undetermined(std::size_t samples) {
  return Error(StatusCode::kInvalidArgument,
               "{} samples do not determine the terms: expected several clocks and batch sizes",
               samples);
}

double Power(double base, double exponent) { return PortableExp(exponent * PortableLog(base)); }

// With the least error for the exponent given.
std::optional<PowerFit> FitPowerAt(double exponent, std::span<const OperatingSample> samples) {
  std::vector<Equation<3>> equations;
  equations.reserve(samples.size());
  for (const OperatingSample& sample : samples) {
    const double scale = Power(sample.ghz, exponent) / sample.watts;
    equations.push_back({{1 / sample.watts, scale, -scale / sample.rows}, 1});
  }
  const auto x = LeastSquares<3>(std::move(equations));
  if (!x) return std::nullopt;
  return PowerFit{(*x)[0], (*x)[1], (*x)[2], exponent, 0};
}

double SquaredError(const PowerFit& fit, std::span<const OperatingSample> samples) {
  double sum = 0;
  for (const OperatingSample& sample : samples) {
    const double relative = fit.Watts(sample.ghz, sample.rows) / sample.watts - 1;
    sum += relative * relative;
  }
  return sum;
}

}  // namespace

double PowerFit::Watts(double ghz, std::uint32_t rows) const {
  return static_w + (dynamic_w - one_row_w / rows) * Power(ghz, exponent);
}

Result<LatencyFit> FitLatency(std::span<const OperatingSample> samples) {
  DULY_RETURN_IF_ERROR(Check(samples, &OperatingSample::seconds));
  std::vector<Equation<4>> equations;
  equations.reserve(samples.size());
  for (const OperatingSample& sample : samples) {
    const double b = sample.rows;
    const double f = sample.ghz;
    const double s = sample.seconds;
    equations.push_back({{1 / (f * s), b / (f * s), 1 / s, b / s}, 1});
  }
  const auto x = LeastSquares<4>(std::move(equations));
  if (!x) return Undetermined(samples.size());
  LatencyFit fit{(*x)[0], (*x)[1], (*x)[2], (*x)[3], 0};
  fit.error_pct = ErrorPct(fit, samples);
  return fit;
}

Result<PowerFit> FitPower(std::span<const OperatingSample> samples) {
  DULY_RETURN_IF_ERROR(Check(samples, &OperatingSample::watts));
  std::optional<PowerFit> best;
  double least = std::numeric_limits<double>::infinity();
  const auto search = [&](double from, double to, double step) {
    for (double n = from; n < to + step / 2; n += step) {
      const std::optional<PowerFit> fit = FitPowerAt(n, samples);
      if (!fit) continue;
      const double error = SquaredError(*fit, samples);
      if (error < least) {
        least = error;
        best = fit;
      }
    }
  };
  // The error has one minimum over n on all data seen; the second pass refines the first.
  search(0.5, 4, 0.1);
  if (!best) return Undetermined(samples.size());
  search(best->exponent - 0.1, best->exponent + 0.1, 0.005);
  best->error_pct = ErrorPct(*best, samples);
  return *best;
}

double ErrorPct(const LatencyFit& fit, std::span<const OperatingSample> samples) {
  DULY_CHECK(!samples.empty());
  double sum = 0;
  for (const OperatingSample& sample : samples) {
    sum += std::abs(fit.Seconds(sample.ghz, sample.rows) / sample.seconds - 1);
  }
  return 100 * sum / static_cast<double>(samples.size());
}

double ErrorPct(const PowerFit& fit, std::span<const OperatingSample> samples) {
  DULY_CHECK(!samples.empty());
  double sum = 0;
  for (const OperatingSample& sample : samples) {
    sum += std::abs(fit.Watts(sample.ghz, sample.rows) / sample.watts - 1);
  }
  return 100 * sum / static_cast<double>(samples.size());
}

}  // namespace duly
