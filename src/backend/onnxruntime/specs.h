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

// What a file says of one of its inputs or outputs.
struct FileTensor {
  std::string name;
  std::optional<DataType> type;  // nothing: not servable, for the reason in `kind`
  std::string kind;              // for messages: "FP32", "a sequence", "complex64"
  // -1: any size. Nothing: the file does not say even the number of dimensions, or it is a scalar
  // (ONNX Runtime does not tell these two apart).
  std::optional<Shape> shape;
  bool has_default = false;
};

struct FileSpecs {
  std::vector<FileTensor> inputs;
  std::vector<FileTensor> outputs;
};

struct VariantSpecs {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

// May throw Ort::Exception.
FileSpecs ReadSpecs(const Ort::Session& session);

// The specs to serve: the configuration's, where it lists any, completed by the file's. All
// contradictions are listed in one kInvalidArgument, which does not name the file.
Result<VariantSpecs> MergeSpecs(const ModelSpec& model, const FileSpecs& file);

}  // namespace duly::onnx
