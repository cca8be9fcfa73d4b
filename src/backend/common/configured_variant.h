// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/common/batch.h"
#include "backend/interface/backend.h"
#include "model/model_spec.h"

namespace duly {

// A variant whose tensors are those that the model's configuration names.
class ConfiguredVariant : public LoadedVariant {
 public:
  const std::vector<TensorSpec>& inputs() const final { return inputs_; }
  const std::vector<TensorSpec>& outputs() const final { return outputs_; }

 protected:
  explicit ConfiguredVariant(const ModelSpec& model)
      : inputs_(model.inputs), outputs_(model.outputs), max_rows_(model.max_rows) {}

  std::uint32_t max_rows() const { return max_rows_; }

  // Checks the batch; then gives every item the tensors make(item, k) of the outputs k that it
  // wants.
  template <typename Make>
  Status Answer(std::span<RunItem> items, Make make) const {
    ClearOutputs(items);
    const Result<std::uint32_t> rows = CheckBatch(items, inputs_, outputs_.size(), max_rows_);
    if (!rows) return rows.error();
    for (RunItem& item : items) {
      item.outputs.reserve(WantedCount(item, outputs_.size()));
      ForEachWanted(item, outputs_.size(),
                    [&](std::size_t k) { item.outputs.push_back(make(item, k)); });
    }
    return Status();
  }

 private:
  const std::vector<TensorSpec> inputs_;
  const std::vector<TensorSpec> outputs_;
  const std::uint32_t max_rows_;
};

}  // namespace duly
