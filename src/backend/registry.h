// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "backend/interface/backend.h"
#include "base/result.h"
#include "model/model_spec.h"

namespace duly {

// What ModelSpec::backend may be.
std::span<const std::string_view> ModelBackends();

// A device that serves models of every back end: for kCpu and kAccelerator it loads a model by the
// one that ModelSpec::backend names (kInvalidArgument, listing the known ones, for any other name),
// where a plug_in of the device stands for ONNX Runtime, and kPlugInBackend needs one; for
// kEmulated it emulates each of them by the profile in profile_file, which is read here, and with
// `compute` computes the outputs as kCpu would. Slots, threads and cores of the device are settled.
// To be called before the process has other threads (onnxruntime/onnxruntime_backend.h).
Result<std::unique_ptr<Backend>> MakeBackend(const DeviceSpec& device);

}  // namespace duly
