// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/mutex.h"
#include "base/random.h"
#include "model/model_spec.h"

namespace duly {

// What chance and the configured faults make of the runs of one emulated device, in the order of
// their starts. The same seed and device name give the same sequence.
// Threading: from any thread.
class RunSequence {
 public:
  explicit RunSequence(const DeviceSpec& device);

  struct Run {
    std::uint64_t number = 0;  // from 1
    double factor = 1;         // of the mean service time; lognormal with mean 1 and noise_cv
    bool fails = false;        // fail_every divides the number
  };
  Run Next();

 private:
  const double noise_cv_;
  const std::uint32_t fail_every_;
  Mutex mutex_;
  std::uint64_t runs_ DULY_GUARDED_BY(mutex_) = 0;
  RandomStream noise_ DULY_GUARDED_BY(mutex_);
};

}  // namespace duly
