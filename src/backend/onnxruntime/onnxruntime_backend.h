// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "backend/interface/backend.h"
#include "model/model_spec.h"

namespace duly {

// Runs ONNX files by ONNX Runtime: on this machine's cores, or what else the device's provider is
// for.
//
// Of the device: threads_per_slot is the number of threads that compute one run: the caller of Run
// and a pool of threads_per_slot - 1 per loaded variant (none for 1). They never spin. Where the
// device names cores, the pools stay on them. A pool's threads inherit priority and, without cores,
// affinity from the thread that calls Load; callers of Run are where their owner put them.
//
// Without a provider nothing of ONNX Runtime exists before the first Load (its environment alone is
// 11 MB). A provider is looked for at once: fails as onnx::Provider::Find says.
// Outputs stay valid after variant and back end are gone.
//
// Configuration and file are brought together by model/complete.h. An input with a default in the
// file is optional, and there only when the configuration lists it.
//
// Call it before the process has other threads: it switches the library's telemetry off, for which
// there is only an environment variable.
Result<std::unique_ptr<Backend>> MakeOnnxRuntimeBackend(const DeviceSpec& device);

}  // namespace duly
