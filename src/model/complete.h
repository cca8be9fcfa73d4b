// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "base/status.h"
#include "model/model_spec.h"

namespace duly {

// A batch of a model whose configuration states no max_batch_size: rows are bounded by the largest
// preferred batch size, and by this where there is none.
inline constexpr std::uint32_t kDefaultMaxRows = 32;

// Completes `spec` with what a loaded file says of itself (LoadedVariant::inputs() and outputs()),
// or checks that the two agree. Called for each variant: the first one fills what the
// configuration left out, the others must have the same tensors.
//
// Without a stated max_batch_size a model batches when the first dimension of every input and
// output is dynamic (-1); a model where that is no batch needs `max_batch_size: 0`. The file may be
// wider than the configuration (-1 where that has a size), and may have more outputs. On failure:
// kInvalidArgument, with every disagreement.
Status CompleteFromFile(ModelSpec& spec, std::span<const TensorSpec> inputs,
                        std::span<const TensorSpec> outputs);

}  // namespace duly
