// SPDX-License-Identifier: Apache-2.0
#include "placement/responses.h"

#include <fmt/format.h>

#include <utility>

namespace duly::placement {
namespace {

constexpr double kP95 = 0.95;
constexpr double kP99 = 0.99;

}  // namespace

std::string NameOf(const Promise& slo) {
  return slo.quantile == 0 ? "mean" : fmt::format("p{:.6g}", slo.quantile * 100);
}

bool Responses::Enter(int device) {
  const auto type = static_cast<std::size_t>(placement_.site(device).type);
  const auto node = static_cast<std::size_t>(placement_.site(device).node);
  const queueing::Device& mechanism = placement_.cluster().types[type].device;
  overhead_s_ = placement_.cluster().nodes[node].overhead_s;
  served_ = placement_.Served(device);
  estimate_.Update(mechanism, served_);
  exact_.reset();
  if (estimate_.stable() && by_ == By::kPrediction && !served_.empty()) {
    std::vector<double> quantiles{kP95, kP99};
    for (const int a : placement_.on(device)) quantiles.push_back(SloOf(a).quantile);
    exact_ = ExactResponses::Create(mechanism, served_, std::move(quantiles));
  }
  return estimate_.stable();
}

Response Responses::Of(int application) const {
  const std::size_t kind = placement_.ServedIndex(application);
  return {Mean(kind), Quantile(kind, kP95), Quantile(kind, kP99),
          Quantile(kind, SloOf(application).quantile)};
}

double Responses::Mean(std::size_t kind) const {
  return overhead_s_ + (exact_ ? exact_->Of(kind, 0) : estimate_.Mean(kind));
}

double Responses::Quantile(std::size_t kind, double quantile) const {
  if (quantile == 0) return Mean(kind);
  return overhead_s_ + (exact_ ? exact_->Of(kind, quantile) : estimate_.Quantile(kind, quantile));
}

}  // namespace duly::placement
