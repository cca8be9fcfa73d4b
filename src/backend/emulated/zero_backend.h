// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "backend/interface/backend.h"

namespace duly {

// Answers zeros (empty strings) at once: of the configured types and shapes, free dimensions other
// than rows being 1. Load needs the model's inputs and outputs, and no file.
std::unique_ptr<Backend> MakeZeroBackend();

}  // namespace duly
