// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "queueing/fcfs.h"
#include "queueing/service_time.h"

namespace duly::queueing {

// A device (GPU) that works on several requests at once. lambda_i, s_i rate and mean service alone
// of class i, Lambda the sum of the rates, rho_i = lambda_i s_i, rho their sum. Means need no more
// of the service than s_i unless cv2 is named.

// The GPU model of Ibis, Eq. 6 and 7 of the paper: 1 / mu = rho / Lambda,
//   E[W] = 1 / (mu - Lambda) - 1 / mu,   R_i = s_i + E[W]
// One wait for all classes: 1.3 to 3.7 times too long for the shortest model of mixes on a
// Jetson Nano, 4.5 times at rho = 0.9, and up to 15 % off for the longest. To compare with;
// SlicedQueues is the model.
// Source: Liang et al., ACM TAAS 18(1), 2023.
Result<double> PublishedGpuWait(std::span<const ClassLoad> classes);

// Processor sharing whose speed depends on how many work: n requests together progress at r(n)
// times the speed of one alone, each at r(n) / n. r(1) = 1; time-slicing is r(n) = 1, r(n) > 1
// where streams or MPS overlap kernels. speedup[n - 1] = r(n); the last holds beyond.
//   pi(n) = pi(0) rho^n / (r(1) ... r(n)),   E[N] = Sum n pi(n),   R_i = s_i E[N] / rho
// Exact for Poisson arrivals and any service (insensitive: Cohen, Acta Informatica 12, 1979); with
// r(n) = 1, s_i / (1 - rho). Stable where rho < the last speedup.
struct Sharing {
  double utilization = 0;  // rho over the last speedup
  double stretch = 1;      // R_i / s_i
  double mean_jobs = 0;    // E[N]
  double load = 0;         // rho
  double alone = 1;        // pi(0)
  // v: the variance of n / r(n) if an arrival makes them n; its mean is stretch.
  double stretch_variance = 0;
  double residual_s = 0;  // m = E[S^2] / (2 E[S]), what is left of a service that is found
};
Result<Sharing> SharedServer(std::span<const ClassLoad> classes, std::span<const double> speedup);
// The variance of the response of requests with this service, of which the distribution is
// SharedResponse's (shared_response.h). Approximate: with x the own service, taken as constant,
//   2 v x^2 (y - 1 + e^-y) / y^2,  y = x / (stretch m)
// what n / r(n) varies by if a request finds who is there, v, and the less of it the longer x is
// and the more often these change. Exact for M/M/1-PS, v = rho / (1 - rho)^2 (Coffman, Muntz,
// Trotter, J. ACM 17, 1970), for r(n) = 1 the asymptote for any other service. The own spread is
// stretched like the mean.
double SharedVariance(const Sharing& sharing, const ServiceTime& service);

// One queue per class, first come first served; the first of every queue that is not empty gets a
// slice in proportion to its weight (equal where none are given): what a GPU does with one process
// per model. Duly's own approximation:
//   u_i = P(queue i not empty) = rho_i g_i,  g_i = 1 + Sum_(j != i) (w_j / w_i) u_j,  u_i <= rho
//         (linear: solved at once, then bounded)
//   R_i = s_i g_i + (lambda_i (s_i g_i)^2 (1 + cv2_i) + e_i) / (2 (1 - c u_i))
//   e_i = rho_i^2 Sum_(j != i) (w_j / w_i)^2 u_j (1 - u_j) s_j g_j (1 + cv2_j) / 2
// e_i is what a queue gains while another one is busy for long: half of the variance that this adds
// to what the queue can do, in the diffusion limit, where its own queue is there to feel it
// (u_i^2); the half is fitted. These equations alone (c = 1) are up to 35 % high for the heaviest
// class. Slicing leaves nobody idle, so the work in all queues together is that of one FCFS server,
// exactly:
//   W_i = R_i - s_i g_i
//   Sum_i (lambda_i s_i W_i + u_i s_i (1 + cv2_i) / 2) = Lambda E[S^2] / (2 (1 - rho))
// and c is chosen so that this holds. Stable where rho < 1. Mean within 5 % of simulation at
// rho <= 0.7 and 10 % at 0.9, for equal weights and the mixes of grid_test_util.cc, where the
// published form is wrong by a factor; with weights of 3 to 1 within 15 % at 0.7.
// Percentiles: sliced_response.h.
struct SlicedQueue {
  double busy = 0;     // u_i
  double stretch = 1;  // g_i
  double wait_s = 0;   // for the class's own queue
  double mean_s = 0;   // R_i
};
Result<std::vector<SlicedQueue>> SlicedQueues(std::span<const ClassLoad> classes,
                                              std::span<const double> weights = {});
// When requests that start together end, all sharing one device equally: in the order given.
//   sorted s(1) <= s(2) ...: t(k) = t(k-1) + (n - k + 1) (s(k) - s(k-1))
// Within 3 % of what three models on a Jetson Nano took together (tests/data/ibis).
std::vector<double> EndsOfSharedBurst(std::span<const double> services_s);

// A fixed share of the device for one class (MPS, MIG): a server of its own that takes
// s max(1, ceiling / share), where the model alone uses `ceiling` of the device at most;
// 0 < share, ceiling <= 1. Handed to FcfsSingleServer or FcfsWorkload it is exact for a device
// whose shares do not disturb each other.
Result<ClassLoad> OnShare(const ClassLoad& load, double share, double ceiling);

}  // namespace duly::queueing
