// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "model/complete.h"

namespace duly {
namespace {

enum class Side { kInput, kOutput };

std::string_view SideName(Side side) { return side == Side::kInput ? "input" : "output"; }

std::string Describe(const TensorSpec& tensor) {
  return fmt::format("{} {}", duly::ToString(tensor.type), duly::ToString(tensor.shape));
}

const TensorSpec* Find(std::span<const TensorSpec> tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorSpec& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

bool HasDynamicRows(const TensorSpec& tensor) {
  return !tensor.shape.empty() && tensor.shape.front() == -1;
}

// Every shape that the configuration allows can be given to the file.
bool Fits(const TensorSpec& said, const TensorSpec& had) {
  return said.type == had.type &&
         std::equal(said.shape.begin(), said.shape.end(), had.shape.begin(), had.shape.end(),
                    [](std::int64_t s, std::int64_t h) { return h == -1 || s == h; });
}

class Comparison {
 public:
  explicit Comparison(const ModelSpec& spec)
      : spec_(spec), said_by_(spec.config_file.empty() ? "the model" : "the configuration") {}

  void Compare(Side side, std::span<const TensorSpec> said, std::span<const TensorSpec> had) {
    for (const TensorSpec& tensor : said) {
      const TensorSpec* in_file = Find(had, tensor.name);
      if (in_file == nullptr) {
        std::vector<std::string_view> names;
        for (const TensorSpec& other : had) names.push_back(other.name);
        Say(side, tensor,
            fmt::format("{} says {}, the file has no such {}, but: {}", said_by_, Describe(tensor),
                        SideName(side), fmt::join(names, ", ")));
      } else if (!Fits(tensor, *in_file)) {
        Say(side, tensor,
            fmt::format("{} says {}, the file has {}", said_by_, Describe(tensor),
                        Describe(*in_file)));
      } else if (tensor.optional && !in_file->optional) {
        Say(side, tensor, fmt::format("{} says optional, the file needs it", said_by_));
      }
    }
    if (side == Side::kOutput) return;
    for (const TensorSpec& tensor : had) {
      if (tensor.optional || Find(said, tensor.name) != nullptr) continue;
      Say(side, tensor,
          fmt::format("{} has no such input, the file needs it as {}", said_by_, Describe(tensor)));
    }
  }

  void NeedDynamicRows(Side side, std::span<const TensorSpec> had) {
    for (const TensorSpec& tensor : had) {
      if (HasDynamicRows(tensor)) continue;
      Say(side, tensor,
          fmt::format(
              "{} says max_batch_size: {}, the file has {}, whose first dimension is not -1",
              said_by_, spec_.max_rows, Describe(tensor)));
    }
  }

  Status Finish() && {
    if (disagreements_.empty()) return Status();
    return Status(
        StatusCode::kInvalidArgument,
        fmt::format("{}: {}", spec_.config_file.empty() ? spec_.folder : spec_.config_file,
                    fmt::join(disagreements_, "; ")));
  }

 private:
  void Say(Side side, const TensorSpec& tensor, std::string_view what) {
    disagreements_.push_back(fmt::format("{} '{}': {}", SideName(side), tensor.name, what));
  }

  const ModelSpec& spec_;
  std::string_view said_by_;
  std::vector<std::string> disagreements_;
};

std::uint32_t RowsOf(const ModelSpec& spec, std::span<const TensorSpec> inputs,
                     std::span<const TensorSpec> outputs) {
  const bool batches = !inputs.empty() && !outputs.empty() &&
                       std::all_of(inputs.begin(), inputs.end(), HasDynamicRows) &&
                       std::all_of(outputs.begin(), outputs.end(), HasDynamicRows);
  if (!batches) return 0;
  if (!spec.dynamic_batching || spec.dynamic_batching->preferred_rows.empty()) {
    return kDefaultMaxRows;
  }
  return std::max(kDefaultMaxRows, spec.dynamic_batching->preferred_rows.back());
}

}  // namespace

Status CompleteFromFile(ModelSpec& spec, std::span<const TensorSpec> inputs,
                        std::span<const TensorSpec> outputs) {
  if (spec.rows_from_file) {
    spec.max_rows = RowsOf(spec, inputs, outputs);
    spec.rows_from_file = false;
  }
  Comparison comparison(spec);
  const auto complete_or_compare = [&](Side side, std::vector<TensorSpec>& said,
                                       std::span<const TensorSpec> had) {
    if (!said.empty()) return comparison.Compare(side, said, had);
    said.assign(had.begin(), had.end());
    if (spec.max_rows > 0) comparison.NeedDynamicRows(side, had);
  };
  complete_or_compare(Side::kInput, spec.inputs, inputs);
  complete_or_compare(Side::kOutput, spec.outputs, outputs);
  return std::move(comparison).Finish();
}

}  // namespace duly
