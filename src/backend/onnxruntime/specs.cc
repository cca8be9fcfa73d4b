// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/specs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace duly::onnx {
namespace {

// In the order of DataType.
constexpr std::array<ONNXTensorElementDataType, 14> kElementTypes{
    ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,     ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,   ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,   ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,   ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
};

std::string_view KindName(ONNXType type) {
  switch (type) {
    case ONNX_TYPE_SEQUENCE:
      return "a sequence";
    case ONNX_TYPE_MAP:
      return "a map";
    case ONNX_TYPE_SPARSETENSOR:
      return "a sparse tensor";
    case ONNX_TYPE_OPTIONAL:
      return "an optional value";
    default:
      return "not a tensor";
  }
}

class Reader {
 public:
  Reader(const std::vector<TensorSpec>& configured, std::string_view side)
      : configured_(configured), side_(side) {}

  bool IsConfigured(std::string_view name) const {
    return std::ranges::find(configured_, name, &TensorSpec::name) != configured_.end();
  }

  Status Read(std::string name, const Ort::TypeInfo& info, bool optional,
              std::vector<TensorSpec>& specs) const {
    if (info.GetONNXType() != ONNX_TYPE_TENSOR) {
      return NotServable(name, KindName(info.GetONNXType()));
    }
    const auto facts = info.GetTensorTypeAndShapeInfo();
    const std::optional<DataType> type = ToDataType(facts.GetElementType());
    if (!type) {
      return NotServable(name, fmt::format("a tensor of ONNX element type {}",
                                           static_cast<int>(facts.GetElementType())));
    }
    TensorSpec spec{std::move(name), *type, facts.GetShape(), optional};
    if (spec.shape.empty()) {
      const auto known = std::ranges::find(configured_, spec.name, &TensorSpec::name);
      if (known != configured_.end()) spec.shape = known->shape;
    }
    specs.push_back(std::move(spec));
    return Status();
  }

 private:
  Status NotServable(std::string_view name, std::string_view kind) const {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("{} '{}' is {}: expected a tensor of a type that the protocol has",
                              side_, name, kind));
  }

  const std::vector<TensorSpec>& configured_;
  const std::string_view side_;
};

}  // namespace

std::optional<DataType> ToDataType(ONNXTensorElementDataType type) {
  const auto found = std::ranges::find(kElementTypes, type);
  if (found == kElementTypes.end()) return std::nullopt;
  return static_cast<DataType>(found - kElementTypes.begin());
}

ONNXTensorElementDataType ToElementType(DataType type) {
  return kElementTypes.at(static_cast<std::size_t>(type));
}

Result<FileSpecs> ReadSpecs(const Ort::Session& session, const ModelSpec& model) {
  const Ort::AllocatorWithDefaultOptions allocator;
  FileSpecs specs;
  const Reader inputs(model.inputs, "input");
  for (std::size_t i = 0; i < session.GetInputCount(); ++i) {
    const Status status = inputs.Read(session.GetInputNameAllocated(i, allocator).get(),
                                      session.GetInputTypeInfo(i), false, specs.inputs);
    if (!status.ok()) return Error(status);
  }
  const std::size_t defaults = model.inputs.empty() ? 0 : session.GetOverridableInitializerCount();
  for (std::size_t i = 0; i < defaults; ++i) {
    const Status status =
        inputs.Read(session.GetOverridableInitializerNameAllocated(i, allocator).get(),
                    session.GetOverridableInitializerTypeInfo(i), true, specs.inputs);
    if (!status.ok()) return Error(status);
  }
  const Reader outputs(model.outputs, "output");
  for (std::size_t i = 0; i < session.GetOutputCount(); ++i) {
    const Ort::AllocatedStringPtr name = session.GetOutputNameAllocated(i, allocator);
    const Status status =
        outputs.Read(name.get(), session.GetOutputTypeInfo(i), false, specs.outputs);
    // A model can be served without what cannot be (a classifier's list of maps).
    if (!status.ok() && !model.outputs.empty() && !outputs.IsConfigured(name.get())) continue;
    if (!status.ok()) return Error(status);
  }
  return specs;
}

}  // namespace duly::onnx
