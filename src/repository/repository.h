// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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
// config_json: holds in the place of config.pbtxt.
std::vector<ModelSpec> ReadModel(const std::string& folder, Faults& faults,
                                 const std::optional<std::string>& config_json = std::nullopt);

// All models of some repositories, by name and version. Files and hidden folders beside the models
// are not looked at. A model with a fault is left out.
std::vector<ModelSpec> ReadRepositories(std::span<const std::string> folders, Faults& faults);

// The models' folders by their names. One that is in two repositories, or a repository that cannot
// be read, is a fault.
std::map<std::string, std::string> FindModels(std::span<const std::string> folders, Faults& faults);

// Changes when a file of the folder does, is added or removed: of names, sizes and times.
std::uint64_t FolderFingerprint(const std::string& folder);

}  // namespace duly
