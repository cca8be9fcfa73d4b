// SPDX-License-Identifier: Apache-2.0
//
// What loads and unloads do to the generations and applications of a node: the same for the engine
// and for all that follow its event log.
#pragma once

#include <cstddef>
#include <vector>

#include "base/status.h"
#include "engine/event.h"

namespace duly {

Status CheckApplication(const Application& application);
// Whether it fits into a node with so many devices and applications.
Status CheckGeneration(const Generation& generation, std::size_t devices, std::size_t applications);

inline bool IsUnloaded(const Generation& generation) { return generation.variants.empty(); }

// Each fails, without an effect, when it makes no sense on such a node.
Status Apply(const GenerationLoad& load, std::size_t devices, std::vector<Generation>& generations,
             std::vector<Application>& applications);
Status ApplyUnload(GenerationIndex index, std::vector<Generation>& generations);

}  // namespace duly
