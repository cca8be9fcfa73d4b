// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"

namespace duly::queueing {

// A batch of b requests takes per_request_s * b + fixed_s, both at least 0 and not both 0. Requests
// come one by one, Poisson at a rate lambda.
struct BatchTime {
  double per_request_s = 0;  // a
  double fixed_s = 0;        // t0
  double Of(double size) const { return per_request_s * size + fixed_s; }
};

// A device that, when it is free, takes everything that waits as one batch. Upper bound of the mean
// response, stable where lambda a < 1:
//   phi0 = (a + t0) / (2 (1 - lambda a)) (1 + 2 lambda t0 + (1 - lambda t0) / (1 + lambda a))
//   phi1 = 1.5 t0 / (1 - lambda a) + (a / 2) (lambda a + 2) / (1 - lambda^2 a^2)
//   E[R] <= min(phi0, phi1)
// At most 7 % above simulation to lambda a = 0.9, exact at light load. No bound on the batch.
// Source: Inoue, Queueing analysis of GPU-based inference servers with dynamic batching,
// Performance Evaluation 147, 2021.
Result<double> DynamicBatchingMean(double rate_per_s, const BatchTime& time);

// Batches of at most `size` requests; one closes when it is full or `timeout` after its first
// request came, then waits for the device. With X the requests that come within the timeout
// (Poisson, mean lambda Tm), P(n >= i + 1) = P(X >= i) for i < B:
//   E[n]   = 1 + Sum_(i=1..B-1) P(X >= i)
//   fill   = Sum_(i=1..B-1) i P(X >= i) / (lambda E[n])       a request's mean wait for the closing
//   wait   = min( ((gap - E[tau])^2 + Var[gap] + Var[tau]) / (2 (gap - E[tau])) - 1 / lambda,
//                 rho E[tau] / (1 - rho) (ca2 + cs2) / 2 e^-z )
//   z      = 2 (1 - rho) (1 - ca2)^2 / (3 rho (ca2 + cs2))
//   R      = fill + wait + E[n tau(n)] / E[n]
// Batches come every gap = 1 / lambda + E[min(Tm, until full)]; ca2 and cs2 are the squared
// coefficients of variation of that time and of tau(n); rho = lambda E[tau] / E[n] < 1. Fill and
// batch sizes are exact. So is the wait's first form where no batch is done before the next may
// close (Tm <= tau(1)): then it is an M/G/1 with service tau less the open time; else it is too
// long, and the second is Kraemer and Langenbach-Belz's for GI/G/1 (ITC 8, 1976).
// Mean response within 5 % of simulation at rho <= 0.7, 15 % at 0.9.
// Source of the mechanism: HarmonyBatch (arXiv 2405.05633); fill, gap and the wait's first form are
// Duly's own.
struct FixedBatching {
  double utilization = 0;
  double mean_size = 0;  // E[n]
  double fill_s = 0;
  double wait_s = 0;
  double mean_s = 0;  // R
};
Result<FixedBatching> FixedBatchingMean(double rate_per_s, const BatchTime& time, int size,
                                        double timeout_s);

// The largest batch whose last request, all of them coming evenly, keeps the first within the SLO:
// (B - 1) / lambda + tau(B) <= slo, at most max_size. 0 where not even one fits.
Result<int> LargestBatchWithin(double rate_per_s, const BatchTime& time, double slo_s,
                               int max_size);

}  // namespace duly::queueing
