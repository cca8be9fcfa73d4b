// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "backend/interface/backend.h"

namespace duly {

// Serves models whose outputs are their inputs, in order: output k has the bytes of input k.
// Load needs the specs of both in the configuration: as many outputs as inputs, of equal types and
// shapes, none optional; else kInvalidArgument. The parameter "delay" (a duration such as "300ms")
// is how long each run takes at least, spent off the CPU.
std::unique_ptr<Backend> MakeCopyBackend();

}  // namespace duly
