// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backend/interface/backend.h"
#include "base/result.h"
#include "model/model_spec.h"

namespace duly {

// The inputs of a run of the sample, each row with the same data. kInvalidArgument says what of the
// sample does not fit the model, or that a file cannot be read or is not of the right size.
Result<std::vector<Tensor>> WarmUpInputs(const WarmUpSample& sample, const ModelSpec& model);

// Runs the variant on zeros, so that the first request pays for nothing that only the first one
// pays for, and then on the samples that the model brings. The first failure. Runs on the calling
// thread.
Status WarmUp(const ModelSpec& model, LoadedVariant& loaded);

}  // namespace duly
