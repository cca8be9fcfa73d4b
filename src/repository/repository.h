// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/fault.h"
#include "model/model_spec.h"

namespace duly {

// The versions of one model to serve, ascending: the newest one unless config.pbtxt has another
// version policy. `folder` is laid out as Triton's:
//
//   NAME/config.pbtxt        optional
//   NAME/duly.yaml           optional
//   NAME/<version>/model.onnx
//
// A version is a folder whose name is a number without leading zeros. Empty after a fault.
std::vector<ModelSpec> ReadModel(const std::string& folder, Faults& faults);

// All models of some repositories, by name and version. Files and hidden folders beside the models
// are not looked at. A model with a fault is left out.
std::vector<ModelSpec> ReadRepositories(std::span<const std::string> folders, Faults& faults);

}  // namespace duly
