// SPDX-License-Identifier: Apache-2.0
#include "profile/service_prediction.h"

#include <algorithm>

namespace duly {

void ServicePrediction::Observe(std::uint32_t rows, Duration service) {
  const Duration measured = curve_.Mean(rows);
  if (measured <= Duration(0)) return;
  const double ratio = static_cast<double>(service.count()) / static_cast<double>(measured.count());
  // One stall (a page fault, a descheduled thread) says little about the next batch: it may at most
  // double what is expected.
  const double bounded = std::min(ratio, 2 * factor_);
  const double error = bounded - factor_;
  deviation_ += ((error < 0 ? -error : error) - deviation_) / 4;
  factor_ = std::max(factor_ + error / 8, 1.0 / 1024);
}

}  // namespace duly
