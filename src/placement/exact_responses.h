// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "queueing/device.h"

namespace duly::placement {

// queueing::Predict() for what promises are about: a quantile, or 0 for the mean.
class ExactResponses {
 public:
  // Quantiles in any order and more than once. Nothing: there is no prediction, or the mix is
  // unstable.
  static std::optional<ExactResponses> Create(const queueing::Device& device,
                                              std::span<const queueing::ServedClass> classes,
                                              std::vector<double> quantiles);
  // One of those quantiles, or 0.
  double Of(std::size_t kind, double quantile) const;

 private:
  ExactResponses(std::vector<double> quantiles, queueing::Prediction prediction)
      : quantiles_(std::move(quantiles)), prediction_(std::move(prediction)) {}

  std::vector<double> quantiles_;  // ascending
  queueing::Prediction prediction_;
};

}  // namespace duly::placement
