// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"

namespace duly {

// One measurement of one variant on one device at one step of its clock.
struct OperatingSample {
  double ghz = 0;
  std::uint32_t rows = 1;
  double seconds = 0;  // mean service time
  double watts = 0;    // mean power while serving; 0: not measured
};

// Mean service time over clock f and rows b: (A + B b)/f + C + D b. What the clock speeds up stands
// over it; what memory and the host take does not.
struct LatencyFit {
  double a_gcycles = 0;  // A, in 10^9 cycles
  double b_gcycles = 0;  // B, a row
  double c_s = 0;        // C
  double d_s = 0;        // D, a row
  double error_pct = 0;  // mean absolute, of what it was fitted to

  double Seconds(double ghz, std::uint32_t rows) const {
    const double b = rows;
    return (a_gcycles + b_gcycles * b) / ghz + c_s + d_s * b;
  }
};

// Mean power while serving: P0 + (k - j/b) f^n. With more rows the device idles less between them,
// up to k.
struct PowerFit {
  double static_w = 0;   // P0
  double dynamic_w = 0;  // k, at 1 GHz
  double one_row_w = 0;  // j, by how much less one row takes at 1 GHz
  double exponent = 1;   // n
  double error_pct = 0;

  double Watts(double ghz, std::uint32_t rows) const;
};

// By least squares of the relative errors, so that every clock and batch counts the same; n by
// search in [0.5, 4]. From + - * / and sqrt alone: every compiler gives the same bits.
// kInvalidArgument: a sample out of range, or samples that do not determine the terms (one clock,
// one batch size, fewer than terms).
Result<LatencyFit> FitLatency(std::span<const OperatingSample> samples);
Result<PowerFit> FitPower(std::span<const OperatingSample> samples);

// Mean absolute percentage errors on samples that need not be those of the fit; not empty.
double ErrorPct(const LatencyFit& fit, std::span<const OperatingSample> samples);
double ErrorPct(const PowerFit& fit, std::span<const OperatingSample> samples);

}  // namespace duly
