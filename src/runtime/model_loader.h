// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "backend/interface/backend.h"
#include "base/fault.h"
#include "base/result.h"
#include "model/model_spec.h"
#include "policy/interface/view.h"
#include "runtime/node.h"

namespace duly {

// A version of a model that is loaded, warmed up and measured, but not served yet.
struct LoadedModel {
  ModelSpec spec;         // complete: what its files say is in it
  Generation generation;  // but for its default application
  // [device][variant]; null where it is not placed.
  std::vector<std::vector<std::unique_ptr<LoadedVariant>>> by_device;
};

// Loads every variant on every device where the node's options place it. Adds every fault; fails if
// nothing could be loaded. Takes as long as that takes; one call at a time for the same devices.
Result<LoadedModel> LoadModel(ModelSpec model, const NodeOptions& options, Faults& faults);

}  // namespace duly
