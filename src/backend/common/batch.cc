// SPDX-License-Identifier: Apache-2.0
#include "backend/common/batch.h"

#include <algorithm>

namespace duly {
namespace {

Status CheckInput(const Tensor& tensor, const TensorSpec& spec) {
  if (tensor.type != spec.type) {
    return Status(StatusCode::kInternal,
                  fmt::format("input '{}' is {} in a run: expected {}", spec.name,
                              ToString(tensor.type), ToString(spec.type)));
  }
  const std::optional<std::int64_t> elements = ElementCount(tensor.shape);
  std::size_t size = 0;
  if (!elements || (tensor.type != DataType::kBytes &&
                    (__builtin_mul_overflow(static_cast<std::size_t>(*elements),
                                            ElementSize(tensor.type), &size) ||
                     size != tensor.data.size()))) {
    return Status(StatusCode::kInternal,
                  fmt::format("input '{}' of shape {} has {} bytes in a run", spec.name,
                              ToString(tensor.shape), tensor.data.size()));
  }
  return Status();
}

bool SameButRows(const Shape& a, const Shape& b) {
  return a.size() == b.size() && std::equal(a.begin() + 1, a.end(), b.begin() + 1);
}

}  // namespace

const Tensor* FindInput(const RunItem& item, std::span<const TensorSpec> inputs,
                        std::size_t index) {
  // Tensors stand in the order of the specs, so each is at its own place or, after optional ones
  // that were left out, before it.
  for (std::size_t i = std::min(index + 1, item.inputs.size()); i-- > 0;) {
    if (item.inputs[i].name == inputs[index].name) return &item.inputs[i];
  }
  return nullptr;
}

void ClearOutputs(std::span<RunItem> items) {
  for (RunItem& item : items) item.outputs.clear();
}

Result<std::uint32_t> CheckBatch(std::span<const RunItem> items, std::span<const TensorSpec> inputs,
                                 std::size_t output_count, std::uint32_t max_rows) {
  if (items.empty() || (max_rows == 0 && items.size() != 1)) {
    return Error(StatusCode::kInternal, "a batch of {} requests for a model that {}", items.size(),
                 max_rows == 0 ? "does not batch" : "batches");
  }
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const Tensor* const first = FindInput(items.front(), inputs, k);
    if (first == nullptr && !inputs[k].optional) {
      return Error(StatusCode::kInternal, "input '{}' is missing in a run", inputs[k].name);
    }
    for (const RunItem& item : items) {
      const Tensor* const tensor = FindInput(item, inputs, k);
      if ((tensor == nullptr) != (first == nullptr)) {
        return Error(StatusCode::kInternal, "requests with and without input '{}' are in one batch",
                     inputs[k].name);
      }
      if (tensor == nullptr) continue;
      DULY_RETURN_IF_ERROR(CheckInput(*tensor, inputs[k]));
      if (max_rows == 0) continue;
      if (tensor->shape.empty() || tensor->shape.front() != item.rows) {
        return Error(StatusCode::kInternal, "input '{}' of shape {} is in a run as {} rows",
                     inputs[k].name, ToString(tensor->shape), item.rows);
      }
      if (!SameButRows(tensor->shape, first->shape)) {
        return Error(StatusCode::kInternal, "input '{}' has shapes {} and {} in one batch",
                     inputs[k].name, ToString(first->shape), ToString(tensor->shape));
      }
    }
  }
  std::uint64_t rows = 0;
  for (const RunItem& item : items) {
    rows += item.rows;
    for (const std::uint32_t wanted : item.wanted_outputs) {
      if (wanted >= output_count) {
        return Error(StatusCode::kInternal, "output {} of {} is wanted in a run", wanted,
                     output_count);
      }
    }
  }
  const std::uint32_t most = std::max(max_rows, 1U);
  if (rows == 0 || rows > most) {
    return Error(StatusCode::kInternal, "a batch of {} rows for a model of 1 to {}", rows, most);
  }
  return static_cast<std::uint32_t>(rows);
}

}  // namespace duly
