// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "device_model/device_model.h"
#include "device_model/service_noise.h"
#include "model/model_spec.h"

namespace duly {

// A device model in real time, for runs on several threads. What a run takes depends on those
// beside it, as in the simulator: its end moves while it lasts.
class EmulatedDevice {
 public:
  // The device's slots are settled.
  explicit EmulatedDevice(const DeviceSpec& device);

  // For Start(); one thread at a time.
  OnChip OnChipOf(const std::string& model, const std::string& variant) {
    return sets_.Of(model, variant);
  }

  struct Run {
    std::uint32_t slot = 0;
    ServiceNoise::Run noise;
  };
  // Begins a run that takes mean_ns alone, times the device's noise. Waits while all slots are
  // taken, which happens beside warm-up runs.
  Run Start(double mean_ns, const OnChip& on_chip);
  // Returns when the run has ended: never early, late by a timer's lateness.
  void AwaitEnd(const Run& run);

 private:
  static TimePoint Now();
  // Takes all ends that have come.
  void Progress(TimePoint now) DULY_REQUIRES(mutex_);

  OnChipSets sets_;
  Mutex mutex_;
  std::condition_variable_any changed_;
  const std::unique_ptr<DeviceModel> model_ DULY_GUARDED_BY(mutex_);
  ServiceNoise noise_ DULY_GUARDED_BY(mutex_);
  std::vector<std::uint32_t> free_ DULY_GUARDED_BY(mutex_);
  std::vector<bool> running_ DULY_GUARDED_BY(mutex_);  // by slot, in the model
};

}  // namespace duly
