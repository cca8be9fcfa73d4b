// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/mutex.h"
#include "device_model/service_noise.h"
#include "model/model_spec.h"

namespace duly {

// The noise and the faults of one emulated device, for runs on several threads.
class RunSequence {
 public:
  explicit RunSequence(const DeviceSpec& device)
      : noise_(device.noise_cv > 0 ? NoiseSpec{NoiseSpec::Kind::kLognormal, device.noise_cv}
                                   : NoiseSpec(),
               device.fail_every, device.seed, device.name) {}

  ServiceNoise::Run Next() {
    const MutexLock lock(mutex_);
    return noise_.Next();
  }

 private:
  Mutex mutex_;
  ServiceNoise noise_ DULY_GUARDED_BY(mutex_);
};

}  // namespace duly
