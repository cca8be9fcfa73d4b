// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "backend/interface/backend.h"
#include "base/status.h"
#include "model/tensor.h"

namespace duly {

// One computed output of a batch, before it is cut.
struct BatchOutput {
  Buffer data;
  Shape shape;
  std::size_t row_size = 0;              // bytes, where all rows have the same
  std::vector<std::size_t> row_offsets;  // else: where rows begin, and the end
};

// kInternal where a model that batches (max_rows > 0) answers other than the batch's rows.
Status CheckOutputRows(std::string_view name, const Shape& shape, std::uint32_t rows,
                       std::uint32_t max_rows);

// Gives each item its rows of the outputs that it wants, without copying: output k of `specs` is
// outputs[positions[k]]. After CheckBatch and CheckOutputRows.
void Scatter(std::span<RunItem> items, std::span<const TensorSpec> specs,
             std::span<const BatchOutput> outputs, std::span<const std::uint32_t> positions,
             std::uint32_t max_rows);

}  // namespace duly
