// SPDX-License-Identifier: Apache-2.0
#include "backend/common/batch_output.h"

#include <fmt/format.h>

#include <utility>

#include "backend/common/batch.h"

namespace duly {

Status CheckOutputRows(std::string_view name, const Shape& shape, std::uint32_t rows,
                       std::uint32_t max_rows) {
  if (max_rows == 0 || (!shape.empty() && shape.front() == rows)) return Status();
  return Status(StatusCode::kInternal,
                fmt::format("output '{}' has shape {} for a batch of {} rows, so the model "
                            "cannot be batched: set max_batch_size to 0",
                            name, ToString(shape), rows));
}

void Scatter(std::span<RunItem> items, std::span<const TensorSpec> specs,
             std::span<const BatchOutput> outputs, std::span<const std::uint32_t> positions,
             std::uint32_t max_rows) {
  std::size_t first_row = 0;
  for (RunItem& item : items) {
    const std::size_t last_row = first_row + item.rows;
    item.outputs.reserve(WantedCount(item, specs.size()));
    ForEachWanted(item, specs.size(), [&](std::size_t index) {
      const BatchOutput& batch = outputs[positions[index]];
      Shape shape = batch.shape;
      std::size_t begin = 0;
      std::size_t end = batch.data.size();
      if (max_rows > 0) {
        const bool equal_rows = batch.row_offsets.empty();
        shape[0] = item.rows;
        begin = equal_rows ? first_row * batch.row_size : batch.row_offsets[first_row];
        end = equal_rows ? last_row * batch.row_size : batch.row_offsets[last_row];
      }
      item.outputs.push_back({specs[index].name, specs[index].type, std::move(shape),
                              batch.data.Slice(begin, end - begin)});
    });
    first_row = last_row;
  }
}

}  // namespace duly
