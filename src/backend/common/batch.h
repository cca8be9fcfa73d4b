// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/interface/backend.h"
#include "base/result.h"
#include "model/tensor.h"

namespace duly {

// The item's tensor for inputs[index], or nullptr when it was left out.
const Tensor* FindInput(const RunItem& item, std::span<const TensorSpec> inputs, std::size_t index);

// How many of a model's outputs the item wants: without any named, all.
inline std::size_t WantedCount(const RunItem& item, std::size_t output_count) {
  return item.wanted_outputs.empty() ? output_count : item.wanted_outputs.size();
}

// Calls visit(index) for each of them, in the order of the answer.
template <typename Visit>
void ForEachWanted(const RunItem& item, std::size_t output_count, Visit visit) {
  for (std::size_t i = 0; i < WantedCount(item, output_count); ++i) {
    visit(item.wanted_outputs.empty() ? i : item.wanted_outputs[i]);
  }
}

// "On failure no item has outputs."
void ClearOutputs(std::span<RunItem> items);

// Rows of the whole batch, after checking what the caller of Run has promised, so that its mistake
// is an error (kInternal) and neither a wrong answer nor a wild read:
//   max_rows == 0: exactly one item, of one row;
//   max_rows > 0: at least one item, each input's first dimension is the item's rows, the sum is 1
//   to max_rows, all other dimensions and the set of inputs are the same in all items;
//   always: required inputs are there, types and sizes in bytes are right, wanted outputs exist.
Result<std::uint32_t> CheckBatch(std::span<const RunItem> items, std::span<const TensorSpec> inputs,
                                 std::size_t output_count, std::uint32_t max_rows);

}  // namespace duly
