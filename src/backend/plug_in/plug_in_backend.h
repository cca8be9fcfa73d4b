// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "backend/interface/backend.h"
#include "base/result.h"
#include "model/model_spec.h"

namespace duly {

// Serves models by the shared library of device.plug_in, through the C interface of duly_backend.h.
// The library stays until the process ends: its threads and exit handlers may.
//
// kInvalidArgument: no library, not one of this interface or of another version of it, functions
// missing; else what opening the device answers. Messages begin with the library's file.
//
// The library is code of this process: what it says is checked, what it does to memory is not.
Result<std::unique_ptr<Backend>> MakePlugInBackend(const DeviceSpec& device);

}  // namespace duly
