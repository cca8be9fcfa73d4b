// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <onnxruntime_cxx_api.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/model_spec.h"
#include "model/tensor.h"

namespace duly::onnx {

// The protocol's type of an ONNX element type, and back; nothing for types that the other side
// lacks (complex numbers, 8-bit and 4-bit floats).
std::optional<DataType> ToDataType(ONNXTensorElementDataType type);
ONNXTensorElementDataType ToElementType(DataType type);

// What a file says of itself.
struct FileSpecs {
  std::vector<TensorSpec> inputs;  // one with a default in the file is optional
  std::vector<TensorSpec> outputs;
};

// A tensor whose number of dimensions the file does not say gets that of the configuration, if it
// has one (the library does not tell such a tensor from a scalar). Without configured inputs,
// optional ones are left out: files of some exporters list all their weights.
// kInvalidArgument for tensors that the protocol has no type for. May throw Ort::Exception.
Result<FileSpecs> ReadSpecs(const Ort::Session& session, const ModelSpec& model);

}  // namespace duly::onnx
