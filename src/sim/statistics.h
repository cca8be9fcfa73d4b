// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

namespace duly::sim {

// The value that a Student variable with `freedom` >= 1 degrees of freedom stays below with
// probability p, 0.5 <= p < 1. Absolute error below 1e-6 times the value. For reports only: it uses
// libm, whose last bits differ between machines.
double StudentQuantile(double p, int freedom);

// A mean and half of its 95 % confidence interval, of independent values: two-sided Student. With
// one value the half is 0 and means nothing.
struct MeanInterval {
  double mean = 0;
  double half = 0;
};
MeanInterval IntervalOf(std::span<const double> values);

}  // namespace duly::sim
