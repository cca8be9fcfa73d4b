// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/zero_backend.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "backend/common/configured_variant.h"
#include "backend/common/monotonic.h"

namespace duly {
namespace {

// An output of one row.
struct Row {
  Shape shape;
  std::size_t size = 0;  // bytes
};

class ZeroVariant final : public ConfiguredVariant {
 public:
  // zeros are at least as long as the longest output of a full batch.
  ZeroVariant(const ModelSpec& model, std::vector<Row> rows, Buffer zeros)
      : ConfiguredVariant(model), rows_(std::move(rows)), zeros_(std::move(zeros)) {}

  Status Run(std::span<RunItem> items, RunTimes& times) override {
    const Duration start = MonotonicNow();
    Status status = Answer(items, [this](const RunItem& item, std::size_t k) {
      const Row& row = rows_[k];
      Tensor output{outputs()[k].name, outputs()[k].type, row.shape,
                    zeros_.Slice(0, row.size * item.rows)};
      if (max_rows() > 0) output.shape[0] = item.rows;
      return output;
    });
    if (!status.ok()) return status;
    times.infer = MonotonicNow() - start;
    return Status();
  }

 private:
  const std::vector<Row> rows_;
  const Buffer zeros_;
};

class ZeroBackend final : public Backend {
 public:
  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& /*variant*/) override {
    if (model.inputs.empty() || model.outputs.empty()) {
      return Error(StatusCode::kInvalidArgument,
                   "{}: an emulated device that computes nothing knows only configured tensors: "
                   "expected inputs and outputs in config.pbtxt, or compute: true for the device",
                   model.config_file.empty() ? model.folder : model.config_file);
    }
    std::vector<Row> rows;
    std::size_t longest = 1;
    for (const TensorSpec& spec : model.outputs) {
      Row row{spec.shape, 0};
      for (std::int64_t& dimension : row.shape) dimension = dimension < 0 ? 1 : dimension;
      const std::optional<std::int64_t> elements = ElementCount(row.shape);
      // An empty string is its length.
      const std::size_t element_size =
          spec.type == DataType::kBytes ? sizeof(std::uint32_t) : ElementSize(spec.type);
      std::size_t size = 0;
      if (!elements ||
          __builtin_mul_overflow(static_cast<std::size_t>(*elements), element_size, &row.size) ||
          __builtin_mul_overflow(row.size, std::max(model.max_rows, 1U), &size)) {
        return Error(StatusCode::kInvalidArgument, "{}: output '{}' of shape {} is too large",
                     model.config_file, spec.name, ToString(spec.shape));
      }
      longest = std::max(longest, size);
      rows.push_back(std::move(row));
    }
    // Fresh from the system and never written, so that it takes no memory where it is long.
    const std::shared_ptr<const void> memory(
        std::calloc(1, longest), [](const void* p) { std::free(const_cast<void*>(p)); });
    if (memory == nullptr) {
      return Error(StatusCode::kInvalidArgument, "{}: outputs of {} bytes are too large",
                   model.config_file, longest);
    }
    return std::make_unique<ZeroVariant>(
        model, std::move(rows),
        Buffer(memory, {static_cast<const std::byte*>(memory.get()), longest}));
  }

  std::string description() const override { return "zeros"; }
};

}  // namespace

std::unique_ptr<Backend> MakeZeroBackend() { return std::make_unique<ZeroBackend>(); }

}  // namespace duly
