// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"

namespace duly::queueing {

// How long a request occupies its server, known by two moments: mean E[S] in seconds and squared
// coefficient of variation cv2 = Var[S] / E[S]^2. Where a formula needs more than these (third
// moment, distribution), the time is taken to be distributed as
//   cv2 < 0.01       two equal chances, mean (1 - cv) and mean (1 + cv); one value where cv2 = 0
//   0.01 <= cv2 <= 1 a mixture of Erlang(k-1) and Erlang(k) of one rate; exponential where cv2 = 1
//   cv2 > 1          two exponentials with balanced means
// (Tijms, A First Course in Stochastic Models, 2003, appendix B). Both moments are always kept.
struct ServiceTime {
  double mean_s = 0;
  double cv2 = 0;
};

// E[S^2] and E[S^3].
double SecondMoment(const ServiceTime& service);
double ThirdMoment(const ServiceTime& service);

// One value of a discrete distribution.
struct WeightedTime {
  double time_s = 0;
  double weight = 0;
};
// The distribution as values whose weights sum to 1, ascending. Exact below cv2 = 0.01. Above, up
// to kServiceCells cells, each at its conditional mean: the mean is kept, the second moment falls
// short by less than 0.1 %.
inline constexpr int kServiceCells = 128;
std::vector<WeightedTime> Values(const ServiceTime& service);

// A part of the distribution: with probability `weight`, the sum of `shape` exponentials of this
// rate.
struct ErlangPart {
  double weight = 0;
  int shape = 1;
  double rate_per_s = 0;
};
// At most two; none below cv2 = 0.01, where the time takes single values.
std::vector<ErlangPart> ErlangParts(const ServiceTime& service);

// P(S <= t).
double ProbabilityWithin(const ServiceTime& service, double t_s);
// The smallest t with P(S <= t) >= probability, 0 < probability < 1.
double Quantile(const ServiceTime& service, double probability);

// One class of requests: Poisson arrivals at a rate.
struct ClassLoad {
  double rate_per_s = 0;  // >= 0
  ServiceTime service;    // mean > 0
};

// kInvalidArgument that names `what` and the bound unless the number is finite and at least 0, or
// above 0, or strictly between 0 and 1.
Status CheckNotNegative(std::string_view what, double value);
Status CheckPositive(std::string_view what, double value);
Status CheckFraction(std::string_view what, double value);
Status Check(const ServiceTime& service);
Status Check(const ClassLoad& load);
// kResourceExhausted unless utilization < 1: no queue of its kind has a mean.
Status CheckStable(double utilization);

}  // namespace duly::queueing
