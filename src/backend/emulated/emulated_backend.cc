// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/emulated_backend.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "backend/common/batch.h"
#include "backend/common/monotonic.h"
#include "backend/emulated/run_sequence.h"

namespace duly {
namespace {

class EmulatedVariant final : public LoadedVariant {
 public:
  EmulatedVariant(std::shared_ptr<RunSequence> sequence, std::string device, LatencyCurve curve,
                  std::unique_ptr<LoadedVariant> answering)
      : sequence_(std::move(sequence)),
        device_(std::move(device)),
        curve_(std::move(curve)),
        answering_(std::move(answering)) {}

  const std::vector<TensorSpec>& inputs() const override { return answering_->inputs(); }
  const std::vector<TensorSpec>& outputs() const override { return answering_->outputs(); }

  Status Run(std::span<RunItem> items, RunTimes& times) override {
    const Duration start = MonotonicNow();
    const ServiceNoise::Run run = sequence_->Next();
    if (run.fails) {
      ClearOutputs(items);
    } else if (Status status = answering_->Run(items, times); !status.ok()) {
      return status;
    }
    std::uint32_t rows = 0;
    for (const RunItem& item : items) rows += item.rows;
    const auto mean_ns = static_cast<double>(curve_.Mean(rows).count());
    const Duration waiting = MonotonicNow();
    SleepUntilMonotonic(start + Duration(static_cast<std::int64_t>(mean_ns * run.factor)));
    times.infer += MonotonicNow() - waiting;
    if (run.fails) {
      return Status(StatusCode::kInternal,
                    fmt::format("device '{}' fails its run {}, as its configuration says", device_,
                                run.number));
    }
    return Status();
  }

 private:
  const std::shared_ptr<RunSequence> sequence_;
  const std::string device_;
  const LatencyCurve curve_;
  const std::unique_ptr<LoadedVariant> answering_;
};

class EmulatedBackend final : public Backend {
 public:
  EmulatedBackend(const DeviceSpec& device, Profile profile, std::unique_ptr<Backend> outputs)
      : device_(device),
        profile_(std::move(profile)),
        outputs_(std::move(outputs)),
        sequence_(std::make_shared<RunSequence>(device)) {}

  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& variant) override {
    const VariantProfile* const entry = profile_.Find(model.name, variant.name, device_.name);
    if (entry == nullptr) {
      return Error(StatusCode::kNotFound,
                   "{}: no entry for model '{}', variant '{}': expected one for device '{}' or "
                   "'*', to emulate it by",
                   device_.profile_file, model.name, variant.name, device_.name);
    }
    Result<LatencyCurve> curve = LatencyCurve::Create(entry->points);
    if (!curve) return Error(curve.error().WithContext(device_.profile_file));
    DULY_ASSIGN_OR_RETURN(std::unique_ptr<LoadedVariant> answering, outputs_->Load(model, variant));
    return std::make_unique<EmulatedVariant>(sequence_, device_.name, *std::move(curve),
                                             std::move(answering));
  }

  std::string description() const override {
    return fmt::format("emulated by {}, answering {}", device_.profile_file,
                       outputs_->description());
  }

 private:
  const DeviceSpec device_;
  const Profile profile_;
  const std::unique_ptr<Backend> outputs_;
  const std::shared_ptr<RunSequence> sequence_;
};

}  // namespace

std::unique_ptr<Backend> MakeEmulatedBackend(const DeviceSpec& device, Profile profile,
                                             std::unique_ptr<Backend> outputs) {
  return std::make_unique<EmulatedBackend>(device, std::move(profile), std::move(outputs));
}

}  // namespace duly
