// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "backend/interface/backend.h"
#include "model/model_spec.h"
#include "profile/profile.h"

namespace duly {

// A device that is not there: a run takes, in real time and off the CPU, what the profile says for
// (model, variant, device, rows), times the device's noise, and what its behaviour makes of the
// runs beside it. It begins when Run is entered and is never early; it is late by a timer's
// lateness (README.md has figures).
//
// `outputs` gives the answers within that time, on the caller's thread: a CPU back end for true
// ones, MakeZeroBackend() for none. Where it takes longer than the emulated run, the run does too.
// Load fails with kNotFound when the profile has no entry for the variant. The behaviour's
// fail_every makes runs fail with kInternal, after their time; warm-up runs count.
std::unique_ptr<Backend> MakeEmulatedBackend(const DeviceSpec& device, Profile profile,
                                             std::unique_ptr<Backend> outputs);

}  // namespace duly
