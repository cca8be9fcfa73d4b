// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "queueing/service_time.h"

namespace duly::queueing {

// Requests that come at rate_per_s, find the server's phase `from`, bring `service` of work and
// leave the phase `to`.
struct PhaseArrival {
  int from = 0;
  int to = 0;
  double rate_per_s = 0;
  ServiceTime service;
};

// One way in which a response comes about: the work found in phase `phase`, then `service`, then
// `after_s` in which the server is free already.
struct ResponsePart {
  int phase = 0;
  double probability = 1;  // given the phase
  ServiceTime service;
  double after_s = 0;
};

// The wait of a single FCFS server with Poisson arrivals, as a distribution. The work V in the
// server is what an arrival waits for. With one phase this is M/G/1; with one phase per class, the
// class that arrived last, it is the queue whose service depends on the class before (M/SM/1).
//
// Equations. Lambda is the sum of the rates out of any phase, p_j the chance that an arrival leaves
// phase j whatever the phase was before, D(t) the matrix of rates of arrivals with service <= t.
//   Q = -Lambda I + Int dD(t) e^(Q t)      generator of the phase whenever V is at a new minimum
//   kappa Q = 0, kappa 1 = 1               the phase while the server is idle
//   K(x) = Int_(t > x) dD(t) e^(Q (t - x))           how work builds up above a minimum
//   P(V = 0) = (1 - rho) kappa, and the density of V
//   v(x) = (1 - rho) kappa K(x) + Int_0^x v(y) K(x - y) dy
// From the transform v*(s) (s I - Lambda I + D*(s)) = s (1 - rho) kappa, factored from the right;
// with one phase, Q = 0 and K(x) = Lambda P(S > x): Pollaczek-Khinchine as a renewal equation.
// The mean follows without the distribution: with m_i = E[V; phase i], h_i the mean service of an
// arrival that finds phase i, s_j the mean of those that leave phase j:
//   E[V] = ( Lambda E[S^2] / 2 + Sum_i h_i ((1-rho) kappa_i - p_i (1 - Lambda s_i)) ) / (1 - rho)
// exact, and Pollaczek-Khinchine's where the phases do not matter.
// Sources: Takine and Hasegawa, Stochastic Models 10(1), 1994 (workload of MAP/G/1 with services by
// phase); Neuts, Structured Stochastic Matrices of M/G/1 Type, 1989; the factorisation and E[V] in
// this form are Duly's own.
//
// Numerics. Services are put on a grid by weights that keep mean and second moment, K and v on the
// same grid; the spacing follows from kWork. Values of service that are single (cv2 < 0.01) are
// exact again when a response is asked for. P(V <= t) is within 2e-3 of the truth, quantiles of a
// response from 0.5 to 0.999 within 0.5 % or a hundredth of the longest service, up to rho = 0.95
// and 4 phases; docs/benchmarks.md has the time.
class Workload {
 public:
  // At most kMaxPhases phases, at least one arrival of positive rate; kResourceExhausted when
  // unstable.
  static constexpr int kMaxPhases = 16;
  static Result<Workload> Create(int phases, std::vector<PhaseArrival> arrivals);

  double utilization() const { return utilization_; }
  double mean_s() const { return mean_s_; }  // E[V]: the mean wait of every class
  int phases() const { return phases_; }
  double rate_per_s() const { return rate_per_s_; }
  // p_i and kappa_i.
  std::span<const double> phase_probabilities() const { return phase_; }
  std::span<const double> idle_phase_probabilities() const { return idle_phase_; }
  std::span<const PhaseArrival> arrivals() const { return arrivals_; }
  // Q, by rows.
  std::span<const double> descent() const { return descent_; }

 private:
  Workload() = default;

  int phases_ = 1;
  std::vector<PhaseArrival> arrivals_;
  double rate_per_s_ = 0;
  double utilization_ = 0;
  double mean_s_ = 0;
  std::vector<double> phase_;
  std::vector<double> idle_phase_;
  std::vector<double> descent_;
};

// The work in a server of several classes whose services do not depend on their order: M/G/1, one
// phase. The response of a class has the one part {.service = its service}.
Result<Workload> FcfsWorkload(std::span<const ClassLoad> classes);

// P(V <= t, phase i) on a grid, far enough for the quantile asked for.
class WaitDistribution {
 public:
  // 0 < max_probability <= 0.9999. kResourceExhausted so close to saturation that the grid would
  // need more than kMaxPoints points.
  static constexpr std::size_t kMaxPoints = 1 << 18;
  static Result<WaitDistribution> Create(const Workload& workload, double max_probability);

  // P(V <= t, phase i).
  double Probability(int phase, double t_s) const;
  // The smallest t at which a response made of these parts is there with the probability, which is
  // at most max_probability. The parts' probabilities sum to 1 for each phase.
  Result<double> Quantile(std::span<const ResponsePart> parts, double probability) const;

 private:
  WaitDistribution() = default;

  int phases_ = 1;
  double step_s_ = 0;
  double max_probability_ = 0;
  // By phase: P(V <= m step, phase), m = 0...
  std::vector<std::vector<double>> cumulative_;
};

}  // namespace duly::queueing
