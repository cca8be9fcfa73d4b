// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/emulated_backend.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "backend/common/batch.h"
#include "backend/common/monotonic.h"
#include "backend/emulated/emulated_device.h"

namespace duly {
namespace {

class EmulatedVariant final : public LoadedVariant {
 public:
  EmulatedVariant(std::shared_ptr<EmulatedDevice> device, std::string device_name,
                  LatencyCurve curve, OnChip on_chip, std::unique_ptr<LoadedVariant> answering)
      : device_(std::move(device)),
        device_name_(std::move(device_name)),
        curve_(std::move(curve)),
        on_chip_(on_chip),
        answering_(std::move(answering)) {}

  const std::vector<TensorSpec>& inputs() const override { return answering_->inputs(); }
  const std::vector<TensorSpec>& outputs() const override { return answering_->outputs(); }

  Status Run(std::span<RunItem> items, RunTimes& times) override {
    const Duration entered = MonotonicNow();
    std::uint32_t rows = 0;
    for (const RunItem& item : items) rows += item.rows;
    const EmulatedDevice::Run run =
        device_->Start(static_cast<double>(curve_.Mean(rows).count()), on_chip_);
    const Duration started = MonotonicNow();
    Status status;
    if (run.noise.fails) {
      ClearOutputs(items);
      status = Status(StatusCode::kInternal,
                      fmt::format("device '{}' fails its run {}, as its configuration says",
                                  device_name_, run.noise.number));
    } else {
      status = answering_->Run(items, times);
    }
    const Duration answered = MonotonicNow();
    device_->AwaitEnd(run);
    times.infer += started - entered + (MonotonicNow() - answered);
    return status;
  }

 private:
  const std::shared_ptr<EmulatedDevice> device_;
  const std::string device_name_;
  const LatencyCurve curve_;
  const OnChip on_chip_;
  const std::unique_ptr<LoadedVariant> answering_;
};

class EmulatedBackend final : public Backend {
 public:
  EmulatedBackend(const DeviceSpec& device, Profile profile, std::unique_ptr<Backend> outputs)
      : spec_(device),
        profile_(std::move(profile)),
        outputs_(std::move(outputs)),
        device_(std::make_shared<EmulatedDevice>(device)) {}

  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& variant) override {
    const VariantProfile* const entry = profile_.Find(model.name, variant.name, spec_.name);
    if (entry == nullptr) {
      return Error(StatusCode::kNotFound,
                   "{}: no entry for model '{}', variant '{}': expected one for device '{}' or "
                   "'*', to emulate it by",
                   spec_.profile_file, model.name, variant.name, spec_.name);
    }
    Result<LatencyCurve> curve = LatencyCurve::Create(entry->points);
    if (!curve) return Error(curve.error().WithContext(spec_.profile_file));
    DULY_ASSIGN_OR_RETURN(std::unique_ptr<LoadedVariant> answering, outputs_->Load(model, variant));
    return std::make_unique<EmulatedVariant>(device_, spec_.name, *std::move(curve),
                                             device_->OnChipOf(model.name, variant.name),
                                             std::move(answering));
  }

  std::string description() const override {
    return fmt::format("emulated by {}, answering {}", spec_.profile_file, outputs_->description());
  }

 private:
  const DeviceSpec spec_;
  const Profile profile_;
  const std::unique_ptr<Backend> outputs_;
  const std::shared_ptr<EmulatedDevice> device_;
};

}  // namespace

std::unique_ptr<Backend> MakeEmulatedBackend(const DeviceSpec& device, Profile profile,
                                             std::unique_ptr<Backend> outputs) {
  return std::make_unique<EmulatedBackend>(device, std::move(profile), std::move(outputs));
}

}  // namespace duly
