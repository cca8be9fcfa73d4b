// SPDX-License-Identifier: Apache-2.0
//
// The classification extension: the largest values of an output, and what they stand for.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "model/model_spec.h"
#include "model/tensor.h"

namespace duly {

// Numbers, other than truth values.
bool IsClassifiable(DataType type);

// The `count` largest values of each row of the model's output, or all when a row has fewer: BYTES
// "value:index", or "value:index:label" where the model has a label for the index. The largest
// first, of equal ones the one with the lower index, NaN behind all others. Whole numbers as they
// are, others with six decimals. Shape [rows, K]; [K] when the model does not batch and the whole
// output is one row. kInternal when the tensor is not what the model says.
Result<Tensor> Classify(const ModelSpec& model, const Tensor& output, std::uint32_t count);

}  // namespace duly
