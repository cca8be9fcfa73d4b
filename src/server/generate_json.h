// SPDX-License-Identifier: Apache-2.0
//
// The bodies of Triton's generate routes, which name tensors like fields: {"text_input": "hello"}
// and {"model_name": "m", "model_version": "1", "text_output": "world"}.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "model/model_spec.h"
#include "model/tensor.h"

namespace duly {

// The same request as inference takes it. A member, of the body or of its "parameters", that is
// called like an input is that input: a value, or an array of values, of one row; what the shape
// leaves open follows from how many there are. "id" is the id, and all other members are request
// parameters. kInvalidArgument says what is wrong.
Result<std::string> InferJsonOf(const ModelSpec& model, std::string_view generate);

// The answer to it, from that of inference: outputs of one element as values, others as arrays
// without their shape.
std::string GenerateJsonOf(std::string_view infer);

}  // namespace duly
