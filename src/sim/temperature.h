// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/time.h"

namespace duly::sim {

// What a scenario declares of a device that gets warm.
struct ThermalSpec {
  double ambient_c = 25;
  double resistance_c_per_w = 1;  // between the device and what is around it
  Duration time_constant = std::chrono::seconds(60);
  double throttle_c = 85;  // at or above: a step of the clock down
  double release_c = 75;   // at or below: a step up, to what was asked for at most
  Duration poll = std::chrono::seconds(1);
};

// First order: with constant power P it tends to ambient + resistance P, the distance falling by
// 1/e a time constant. Steps are implicit (backward Euler), so that any length is stable, and need
// no exponential, which would differ between machines.
class Temperature {
 public:
  // In balance with that power.
  Temperature(const ThermalSpec& spec, double watts) : spec_(spec), celsius_(Balance(watts)) {}

  void Advance(Duration time, double watts) {
    const double k = ToSeconds(time) / ToSeconds(spec_.time_constant);
    celsius_ = (celsius_ + k * Balance(watts)) / (1 + k);
  }
  double celsius() const { return celsius_; }

 private:
  double Balance(double watts) const { return spec_.ambient_c + spec_.resistance_c_per_w * watts; }

  ThermalSpec spec_;
  double celsius_;
};

}  // namespace duly::sim
