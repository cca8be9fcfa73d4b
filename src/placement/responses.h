// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "placement/exact_responses.h"
#include "placement/placement.h"

namespace duly::placement {

// "p95", "mean".
std::string NameOf(const Promise& slo);

// What an application sees, overhead included.
struct Response {
  double mean_s = 0;
  double p95_s = 0;
  double p99_s = 0;
  double promised_s = 0;  // of the kind that its SLO bounds
};

// The responses on the devices of a placement, one device after the other, at the declared rates.
// Borrows the placement, which stays as it is between Enter() and the questions.
class Responses {
 public:
  enum class By : std::uint8_t { kEstimate, kPrediction };  // queueing/estimate.h, device.h

  Responses(const Placement& placement, By by)
      : placement_(placement), by_(by), estimate_(queueing::Estimate::Form::kOwn) {}

  // False: the device is overloaded, and nothing more may be asked of it but its utilization.
  bool Enter(int device);
  double utilization() const { return estimate_.utilization(); }
  // Of an application on the device.
  Response Of(int application) const;

 private:
  const Promise& SloOf(int application) const {
    return placement_.applications()[static_cast<std::size_t>(application)].slo;
  }
  double Mean(std::size_t kind) const;
  double Quantile(std::size_t kind, double quantile) const;

  const Placement& placement_;
  const By by_;
  double overhead_s_ = 0;
  std::vector<queueing::ServedClass> served_;
  queueing::Estimate estimate_;
  std::optional<ExactResponses> exact_;
};

}  // namespace duly::placement
