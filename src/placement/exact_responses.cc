// SPDX-License-Identifier: Apache-2.0
#include "placement/exact_responses.h"

#include <algorithm>

namespace duly::placement {

std::optional<ExactResponses> ExactResponses::Create(const queueing::Device& device,
                                                     std::span<const queueing::ServedClass> classes,
                                                     std::vector<double> quantiles) {
  std::erase(quantiles, 0);
  std::sort(quantiles.begin(), quantiles.end());
  quantiles.erase(std::unique(quantiles.begin(), quantiles.end()), quantiles.end());
  Result<queueing::Prediction> prediction = queueing::Predict(device, classes, quantiles);
  if (!prediction || !prediction->stable) return std::nullopt;
  return ExactResponses(std::move(quantiles), *std::move(prediction));
}

double ExactResponses::Of(std::size_t kind, double quantile) const {
  const queueing::ClassPrediction& one = prediction_.classes[kind];
  if (quantile == 0) return one.mean_s;
  const auto at = std::lower_bound(quantiles_.begin(), quantiles_.end(), quantile);
  return one.quantiles_s[static_cast<std::size_t>(at - quantiles_.begin())];
}

}  // namespace duly::placement
