// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/specs.h"

#include <fmt/ranges.h>

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

FileTensor ReadTensor(std::string name, const Ort::TypeInfo& info) {
  FileTensor tensor;
  tensor.name = std::move(name);
  if (info.GetONNXType() != ONNX_TYPE_TENSOR) {
    tensor.kind = KindName(info.GetONNXType());
    return tensor;
  }
  const auto facts = info.GetTensorTypeAndShapeInfo();
  tensor.type = ToDataType(facts.GetElementType());
  tensor.kind = tensor.type ? std::string(ToString(*tensor.type))
                            : fmt::format("of ONNX element type {}",
                                          static_cast<int>(facts.GetElementType()));
  Shape shape = facts.GetShape();
  if (!shape.empty()) tensor.shape = std::move(shape);
  return tensor;
}

const FileTensor* Find(const std::vector<FileTensor>& tensors, std::string_view name) {
  const auto found = std::ranges::find(tensors, name, &FileTensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

// Merges one side, inputs or outputs, and collects what is wrong.
class Merger {
 public:
  Merger(const ModelSpec& model, std::vector<std::string>& problems)
      : model_(model),
        source_(model.config_file.empty() ? "the model" : model.config_file),
        problems_(problems) {}

  std::vector<TensorSpec> Merge(std::string_view side, const std::vector<FileTensor>& file,
                                const std::vector<TensorSpec>& configured) {
    side_ = side;
    std::vector<TensorSpec> merged;
    if (configured.empty()) {
      for (const FileTensor& tensor : file) {
        if (tensor.has_default) continue;
        TensorSpec unknown;
        unknown.name = tensor.name;
        if (tensor.type) unknown.type = *tensor.type;
        merged.push_back(MergeTensor(tensor, unknown, nullptr));
      }
      return merged;
    }
    for (const TensorSpec& spec : configured) {
      if (const FileTensor* const tensor = Find(file, spec.name)) {
        merged.push_back(MergeTensor(*tensor, spec, &spec.shape));
      } else {
        std::vector<std::string_view> names;
        for (const FileTensor& known : file) names.push_back(known.name);
        problems_.push_back(fmt::format("no {} '{}' (named in {}): expected one of '{}'", side_,
                                        spec.name, source_, fmt::join(names, "', '")));
      }
    }
    return merged;
  }

  // A run needs a value for every input without default.
  void RequireAll(const std::vector<FileTensor>& file, const std::vector<TensorSpec>& configured) {
    if (configured.empty()) return;
    for (const FileTensor& tensor : file) {
      const bool listed = std::ranges::any_of(
          configured, [&](const TensorSpec& spec) { return spec.name == tensor.name; });
      if (!listed && !tensor.has_default) {
        problems_.push_back(fmt::format("input '{}' is not listed in {}", tensor.name, source_));
      }
    }
    for (const TensorSpec& spec : configured) {
      const FileTensor* const tensor = Find(file, spec.name);
      if (tensor != nullptr && spec.optional && !tensor->has_default) {
        problems_.push_back(
            fmt::format("input '{}' is optional in {}, but the file has no default for it",
                        spec.name, source_));
      }
    }
  }

 private:
  TensorSpec MergeTensor(const FileTensor& tensor, const TensorSpec& spec,
                         const Shape* configured) {
    TensorSpec merged{tensor.name, spec.type, {}, spec.optional};
    if (!tensor.type) {
      problems_.push_back(
          fmt::format("{} '{}' is {}: expected a tensor of a type that the "
                      "protocol has",
                      side_, tensor.name, tensor.kind));
      return merged;
    }
    if (*tensor.type != spec.type) {
      problems_.push_back(fmt::format("{} '{}' is {}, but {} says {}", side_, tensor.name,
                                      tensor.kind, source_, ToString(spec.type)));
    }
    merged.type = *tensor.type;
    if (tensor.shape) merged.shape = *tensor.shape;
    if (model_.max_rows > 0) {
      if (!HasRows(tensor, configured)) return merged;
      // Also for a model of exactly one row.
      if (tensor.shape) merged.shape[0] = -1;
    }
    if (configured == nullptr) return merged;
    if (!tensor.shape) {
      merged.shape = *configured;
      return merged;
    }
    bool fits = configured->size() == merged.shape.size();
    for (std::size_t i = 0; fits && i < merged.shape.size(); ++i) {
      const std::int64_t wanted = (*configured)[i];
      if (merged.shape[i] < 0) merged.shape[i] = wanted;
      fits = wanted < 0 || wanted == merged.shape[i];
    }
    if (!fits) {
      problems_.push_back(fmt::format("{} '{}' has shape {}, but {} says {}", side_, tensor.name,
                                      ToString(*tensor.shape), source_, ToString(*configured)));
    }
    return merged;
  }

  bool HasRows(const FileTensor& tensor, const Shape* configured) {
    if (!tensor.shape) {
      if (configured != nullptr) return true;
      problems_.push_back(fmt::format(
          "{} '{}' has no dimensions in the file: expected a leading one for rows, because "
          "max_batch_size is {}",
          side_, tensor.name, model_.max_rows));
      return false;
    }
    const std::int64_t rows = tensor.shape->front();
    if (rows < 0 || (rows == 1 && model_.max_rows == 1)) return true;
    problems_.push_back(fmt::format(
        "{} '{}' has shape {} with a fixed first dimension, but max_batch_size is {}: expected a "
        "model exported with a dynamic first dimension, or max_batch_size 0",
        side_, tensor.name, ToString(*tensor.shape), model_.max_rows));
    return false;
  }

  const ModelSpec& model_;
  const std::string source_;
  std::vector<std::string>& problems_;
  std::string_view side_;
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

FileSpecs ReadSpecs(const Ort::Session& session) {
  const Ort::AllocatorWithDefaultOptions allocator;
  FileSpecs specs;
  for (std::size_t i = 0; i < session.GetInputCount(); ++i) {
    specs.inputs.push_back(
        ReadTensor(session.GetInputNameAllocated(i, allocator).get(), session.GetInputTypeInfo(i)));
  }
  for (std::size_t i = 0; i < session.GetOverridableInitializerCount(); ++i) {
    specs.inputs.push_back(
        ReadTensor(session.GetOverridableInitializerNameAllocated(i, allocator).get(),
                   session.GetOverridableInitializerTypeInfo(i)));
    specs.inputs.back().has_default = true;
  }
  for (std::size_t i = 0; i < session.GetOutputCount(); ++i) {
    specs.outputs.push_back(ReadTensor(session.GetOutputNameAllocated(i, allocator).get(),
                                       session.GetOutputTypeInfo(i)));
  }
  return specs;
}

Result<VariantSpecs> MergeSpecs(const ModelSpec& model, const FileSpecs& file) {
  std::vector<std::string> problems;
  Merger merger(model, problems);
  VariantSpecs merged;
  merged.inputs = merger.Merge("input", file.inputs, model.inputs);
  merger.RequireAll(file.inputs, model.inputs);
  merged.outputs = merger.Merge("output", file.outputs, model.outputs);
  if (!problems.empty()) {
    return Error(StatusCode::kInvalidArgument, "{}", fmt::join(problems, "; "));
  }
  return merged;
}

}  // namespace duly::onnx
