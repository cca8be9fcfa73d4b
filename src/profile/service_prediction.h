// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>

#include "base/time.h"
#include "profile/profile.h"

namespace duly {

// Service time of one variant on one device: a measured curve, corrected from what is observed.
//
// The correction is a factor on the curve, an exponentially weighted mean of observed / measured,
// with a mean absolute deviation beside it, as TCP estimates its round trip (Jacobson 1988, RFC
// 6298): gain 1/8 for the mean, 1/4 for the deviation. Only + - * /, so that replay gives the same
// bits.
class ServicePrediction {
 public:
  ServicePrediction() = default;
  explicit ServicePrediction(LatencyCurve curve) : curve_(std::move(curve)) {}

  // Mean service time of a batch of `rows` >= 1.
  Duration Mean(std::uint32_t rows) const { return Scale(curve_.Mean(rows), factor_); }
  // A service time that is seldom exceeded: the mean and two deviations.
  Duration Safe(std::uint32_t rows) const {
    return Scale(curve_.Mean(rows), factor_ + 2 * deviation_);
  }
  // A batch of `rows` occupied its slot for `service`.
  void Observe(std::uint32_t rows, Duration service);

  // What was observed counts a little less: 1/256. For refusals that follow from it, after which
  // nothing is observed that could correct it.
  void Forget() {
    if (factor_ > 1) factor_ -= (factor_ - 1) / 256;
    deviation_ -= deviation_ / 256;
  }

  const LatencyCurve& curve() const { return curve_; }
  double factor() const { return factor_; }
  double deviation() const { return deviation_; }

 private:
  static Duration Scale(Duration d, double factor) {
    return Duration(static_cast<std::int64_t>(static_cast<double>(d.count()) * factor));
  }

  LatencyCurve curve_;
  double factor_ = 1;
  double deviation_ = 0;
};

}  // namespace duly
