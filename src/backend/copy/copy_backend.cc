// SPDX-License-Identifier: Apache-2.0
#include "backend/copy/copy_backend.h"

#include <string>
#include <utility>

#include "backend/common/configured_variant.h"
#include "backend/common/monotonic.h"
#include "base/units.h"

namespace duly {
namespace {

class CopyVariant final : public ConfiguredVariant {
 public:
  CopyVariant(const ModelSpec& model, Duration delay) : ConfiguredVariant(model), delay_(delay) {}

  Status Run(std::span<RunItem> items, RunTimes& times) override {
    const Duration start = MonotonicNow();
    Status status = Answer(items, [this](const RunItem& item, std::size_t k) {
      const Tensor& input = *FindInput(item, inputs(), k);
      return Tensor{outputs()[k].name, input.type, input.shape, input.data};
    });
    if (!status.ok()) return status;
    if (delay_ > Duration(0)) SleepUntilMonotonic(start + delay_);
    times.infer = MonotonicNow() - start;
    return Status();
  }

 private:
  const Duration delay_;
};

class CopyBackend final : public Backend {
 public:
  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& /*variant*/) override {
    const std::string& file = model.config_file.empty() ? model.name : model.config_file;
    if (model.inputs.empty() || model.inputs.size() != model.outputs.size()) {
      return Error(StatusCode::kInvalidArgument,
                   "{}: {} inputs and {} outputs: expected as many outputs as inputs, at least "
                   "one, because back end 'copy' answers each input as the output of its position",
                   file, model.inputs.size(), model.outputs.size());
    }
    for (std::size_t k = 0; k < model.inputs.size(); ++k) {
      const TensorSpec& input = model.inputs[k];
      const TensorSpec& output = model.outputs[k];
      if (input.type != output.type || input.shape != output.shape) {
        return Error(StatusCode::kInvalidArgument,
                     "{}: input '{}' is {} {} and output '{}' is {} {}: expected the same for back "
                     "end 'copy'",
                     file, input.name, ToString(input.type), ToString(input.shape), output.name,
                     ToString(output.type), ToString(output.shape));
      }
      if (input.optional) {
        return Error(StatusCode::kInvalidArgument,
                     "{}: input '{}' is optional: expected a required one for back end 'copy'",
                     file, input.name);
      }
    }
    Duration delay{0};
    for (const auto& [key, value] : model.parameters) {
      if (key != "delay") continue;
      const Result<Duration> parsed = ParseDuration(value);
      if (!parsed) {
        return Error(parsed.error().WithContext(file + ": parameter 'delay'"));
      }
      delay = *parsed;
    }
    return std::make_unique<CopyVariant>(model, delay);
  }

  std::string description() const override { return "copy"; }
};

}  // namespace

std::unique_ptr<Backend> MakeCopyBackend() { return std::make_unique<CopyBackend>(); }

}  // namespace duly
