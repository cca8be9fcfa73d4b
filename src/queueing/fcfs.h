// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "base/result.h"
#include "queueing/service_time.h"

namespace duly::queueing {

// One server, first come first served, Poisson arrivals of several classes, any service times
// (M/G/1). With Lambda the sum of all rates and S the service of an arbitrary request:
//   utilization rho = Lambda E[S]
//   wait        W   = Lambda E[S^2] / (2 (1 - rho))                     Pollaczek-Khinchine
//               E[W^2] = 2 W^2 + Lambda E[S^3] / (3 (1 - rho))
//   response of class i: W + E[S_i]; every class waits alike
// Valid for rho < 1, service times that do not depend on their neighbours. Means are exact; E[W^2]
// is where cv2 is 0 or S is of the family in service_time.h. Source: Kleinrock, Queueing Systems I,
// 1975, chapter 5.
struct FcfsWait {
  double utilization = 0;
  double mean_s = 0;
  double second_moment_s2 = 0;
};
Result<FcfsWait> FcfsSingleServer(std::span<const ClassLoad> classes);

// A wait that is 0 with probability 1 - `probability` and else exponential: exact for M/M/c, the
// cheap form for others. P(W > t) = probability e^(-t / mean_if_waiting_s).
struct ExponentialWait {
  double probability = 0;
  double mean_if_waiting_s = 0;
};
// The one with the mean of a single server's wait: P(W > 0) = rho, mean W / rho. Exact for M/M/1.
// The 0.9, 0.95 and 0.99 quantiles of the response of one class with cv2 <= 1 are within 14 % for
// rho 0.5 to 0.9 and within 19 % from 0.2 on, worst for constant service; of what several classes
// do to the shape it knows nothing. workload.h has the exact one.
ExponentialWait ToExponential(const FcfsWait& wait);
// The smallest t with P(W <= t) >= probability: 0 up to 1 - wait.probability. 0 < probability < 1.
double WaitQuantile(const ExponentialWait& wait, double probability);
// Of W + S, S independent of W: service + wait quantile where cv2 = 0 (the cheap form), else over
// the values of S. 0 < probability < 1.
double ResponseQuantile(const ExponentialWait& wait, const ServiceTime& service,
                        double probability);

// `servers` identical servers, one queue, first come first served.
//   a = lambda E[S], rho = a / c
//   Erlang C  P(W > 0) = B / (1 - rho (1 - B)), B(0) = 1, B(n) = a B(n-1) / (n + a B(n-1))
//   M/M/c     W = P(W > 0) E[S] / (c (1 - rho)), exponential given W > 0: exact
//   M/G/c     W times (1 + cv2) / 2: Allen and Cunneen (1978); exact for c = 1 and for cv2 = 1.
//             Mean response within 2 % for cv2 <= 1 and 8 % for cv2 = 4, rho <= 0.9, c <= 4;
//             p95 of the exponential wait with the service within 10 % of simulation
// rho < 1, 1 <= servers <= 10000. Mean wait: probability * mean_if_waiting_s.
// Source of Erlang B's recursion: Kleinrock I, 3.5; Cooper, Introduction to Queueing Theory, 1981.
struct MultiServerWait {
  double utilization = 0;
  double mean_s = 0;
  ExponentialWait distribution;
};
Result<MultiServerWait> FcfsServers(const ClassLoad& load, int servers);

// The stage that prepares requests on a node's CPU, as Ibis published it: M/G/c/PS read as
//   R = (c / lambda) rho / (1 - rho), rho = lambda / (c mu)
// which is c processor-sharing servers with the load split at random; c = 1 as published. lambda is
// the rate of *all* frontends that share the cores. Where idle cores help each other FcfsServers
// comes closer: for c = 4 exponential cores this is 1.4 times too long at rho = 0.3, 2.4 times at
// 0.7 and 3.3 times at 0.9; for c = 1 it is exact. Source: Liang et al., ACM TAAS 18(1), 2023.
Result<double> PublishedCpuStageMean(double rate_per_s, double service_rate_per_s, int cores);

// Stages of any kind one behind the other, each with its mean and variance of the response: sums.
// The mean is exact whatever the stages are, given each stage's own; the variance is for
// independent stages. A stage behind another is not given Poisson arrivals: see FcfsTandem.
struct Stage {
  double mean_s = 0;
  double variance_s2 = 0;
};
Result<Stage> Tandem(std::span<const Stage> stages);
// Single FCFS servers one behind the other, Poisson arrivals at the first. W_j: the M/G/1 wait of
// stage j by itself, M_j the longest of W_1 ... W_j.
//   constant services: all waits together are M_last, as Friedman showed (Oper. Res. 13, 1965)
//   exponential ones: Sum_j W_j, independent of each other (Burke, Oper. Res. 4, 1956)
// exact both; between them stage j adds, with k = min(1, mean cv2 of stages 1 ... j)
//   k W_j + (1 - k) (M_j - M_(j-1))
// to the mean, and the same of the variances. Two stages against simulation: mean within 4 %,
// p95 within 5 % for cv2 of 0.25 and 0.5 at rho <= 0.9.
Result<Stage> FcfsTandem(double rate_per_s, std::span<const ServiceTime> services);
// The time of service_time.h's family with those two moments, for Quantile().
ServiceTime ToServiceTime(const Stage& stage);

}  // namespace duly::queueing
