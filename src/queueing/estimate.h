// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "queueing/device.h"

namespace duly::queueing {

// What Predict() answers, in closed form: for searches that ask thousands of times which mix still
// keeps its promises. One Update() and the responses of four classes take about a microsecond.
//
// kOwn. Every response is a service plus a delay that is known by two moments and taken to be gamma
// distributed; its quantile by Wilson and Hilferty (1931):
//   x(q) = mean (1 - cv2 / 9 + z(q) cv / 3)^3,  z the standard normal quantile
//   kSerial, kSwapping  the wait given that there is one, mean W / rho, second moment E[W^2] / rho
//                       (fcfs.h), with the moments of services with a swap by chance alpha_i
//                       (WaitWithSwaps, exact form); a swap is added by the exponential with the
//                       same quantile
//   kSliced             SlicedQueues(); the wait behind the own class with the variation of
//                       SlicedResponse, but every other service as long as the own
//   kShared             SharedServer(), SharedVariance(); none for a constant service whose request
//                       stays alone, which it does with pi(0) e^(-Lambda s)
//   kServers            FcfsServers(), exponential
// A service's own spread is added to the delay in quadrature. Against Predict(), for mixes loaded
// 0.3 to 0.9 and probabilities 0.9 to 0.99: means the same but for kSwapping (6 %); percentiles
// within 12 % (kSerial), 18 % (kSwapping), 19 % (kSliced; the 95th within 13 %), 15 % (kShared) and
// 19 % (kServers), worst at load 0.3, where no promise is near.
//
// kPublished. Means as Ibis has them: WaitWithSwaps(kPublished) for kSerial and kSwapping,
// PublishedGpuWait() for kSliced and kShared; kServers as above. No percentiles.
//
// Threading: one owner at a time; keeps its memory between updates.
class Estimate {
 public:
  enum class Form : std::uint8_t { kOwn, kPublished };

  explicit Estimate(Form form) : form_(form) {}

  // The device and the classes are as Predict() accepts them; they are checked there, not here.
  void Update(const Device& device, std::span<const ServedClass> classes);

  double utilization() const { return utilization_; }
  // Nothing below may be asked unless it is.
  bool stable() const { return utilization_ < 1; }
  double Mean(std::size_t kind) const { return responses_[kind].mean_s; }
  // 0.5 <= probability <= 0.9999.
  double Quantile(std::size_t kind, double probability) const;

 private:
  struct Response {
    double mean_s = 0;
    double service_s = 0;  // what every request takes at least, on the mean
    double service_cv2 = 0;
    double swap_s = 0;
    double swap_chance = 0;
    // The delay: 0 but for this chance; moments given that it is not 0.
    double delay_chance = 0;
    double delay_s = 0;
    double delay_cv2 = 0;
  };

  void Fcfs(const Device& device, std::span<const ServedClass> classes);
  void Sliced(std::span<const ServedClass> classes);
  void Shared(const Device& device, std::span<const ServedClass> classes);
  void Servers(const Device& device, std::span<const ServedClass> classes);
  void PublishedGpu(std::span<const ServedClass> classes);

  Form form_;
  double utilization_ = 0;
  std::vector<Response> responses_;
  std::vector<ClassLoad> loads_;
  std::vector<double> weights_;
};

}  // namespace duly::queueing
