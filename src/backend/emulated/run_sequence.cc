// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/run_sequence.h"

namespace duly {

RunSequence::RunSequence(const DeviceSpec& device)
    : noise_cv_(device.noise_cv),
      fail_every_(device.fail_every),
      noise_(device.seed, "service/" + device.name) {}

RunSequence::Run RunSequence::Next() {
  const MutexLock lock(mutex_);
  Run run;
  run.number = ++runs_;
  if (noise_cv_ > 0) run.factor = noise_.Lognormal(1, noise_cv_);
  run.fails = fail_every_ > 0 && run.number % fail_every_ == 0;
  return run;
}

}  // namespace duly
