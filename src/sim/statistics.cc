// SPDX-License-Identifier: Apache-2.0
#include "sim/statistics.h"

#include <cmath>

#include "base/check.h"

namespace duly::sim {
namespace {

// Regularised incomplete beta function I_x(a, b) by its continued fraction, evaluated with Lentz's
// method (Abramowitz and Stegun 26.5.8), for x below (a + 1) / (a + b + 2).
double IncompleteBeta(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  constexpr double kEnough = 1e-14;
  constexpr int kMost = 1000;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x)) /
                       a;
  double c = 1;
  double d = 1 / (1 - (a + b) * x / (a + 1));
  double fraction = d;
  const auto step = [&](double coefficient) {
    d = 1 / std::fmax(1 + coefficient * d, kTiny);
    c = std::fmax(1 + coefficient / c, kTiny);
    fraction *= c * d;
    return std::fabs(c * d - 1);
  };
  for (int m = 1; m < kMost; ++m) {
    step(m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)));
    const double change = step(-(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)));
    if (change < kEnough) break;
  }
  return front * fraction;
}

// P(T <= t), t >= 0 (Abramowitz and Stegun 26.7.1).
double StudentCdf(double t, int freedom) {
  const double a = 0.5 * freedom;
  const double x = freedom / (freedom + t * t);
  // By symmetry, where the fraction converges.
  const double tails =
      x < (a + 1) / (a + 2.5) ? IncompleteBeta(a, 0.5, x) : 1 - IncompleteBeta(0.5, a, 1 - x);
  return 1 - tails / 2;
}

}  // namespace

double StudentQuantile(double p, int freedom) {
  DULY_CHECK(p >= 0.5 && p < 1 && freedom >= 1);
  if (p == 0.5) return 0;
  double high = 1;
  while (StudentCdf(high, freedom) < p) high *= 2;
  double low = 0;
  while (high - low > 1e-7 * high) {
    const double middle = 0.5 * (low + high);
    (StudentCdf(middle, freedom) < p ? low : high) = middle;
  }
  return high;
}

MeanInterval IntervalOf(std::span<const double> values) {
  DULY_CHECK(!values.empty());
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  MeanInterval interval{sum / count, 0};
  if (values.size() == 1) return interval;
  double squares = 0;
  for (const double value : values) squares += (value - interval.mean) * (value - interval.mean);
  const double error = std::sqrt(squares / (count - 1) / count);
  interval.half = error * StudentQuantile(0.975, static_cast<int>(values.size()) - 1);
  return interval;
}

}  // namespace duly::sim
