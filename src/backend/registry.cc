// SPDX-License-Identifier: Apache-2.0
#include "backend/registry.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "backend/copy/copy_backend.h"
#include "backend/emulated/emulated_backend.h"
#include "backend/emulated/zero_backend.h"
#include "backend/onnxruntime/onnxruntime_backend.h"
#include "backend/plug_in/plug_in_backend.h"
#include "base/fault.h"
#include "profile/profile.h"

namespace duly {
namespace {

constexpr std::array<std::string_view, 3> kModelBackends{"onnxruntime", kCopyBackend,
                                                         kPlugInBackend};

bool IsPlugIn(const DeviceSpec& device) { return !device.plug_in.file.empty(); }

// Computes what is asked: models of kCopyBackend by that, all others by the library of the device.
class ComputingBackend final : public Backend {
 public:
  ComputingBackend(std::unique_ptr<Backend> library, const DeviceSpec& device)
      : library_(std::move(library)), is_plug_in_(IsPlugIn(device)) {}

  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& variant) override {
    if (std::ranges::find(kModelBackends, model.backend) == kModelBackends.end()) {
      return Error(StatusCode::kInvalidArgument, "{}: unknown back end '{}': expected one of {}",
                   model.config_file, model.backend, fmt::join(kModelBackends, ", "));
    }
    if (model.backend == kCopyBackend) return copy_->Load(model, variant);
    if (model.backend == kPlugInBackend && !is_plug_in_) {
      return Error(StatusCode::kInvalidArgument,
                   "{}: back end '{}' on a device without 'plug_in': expected the model to be "
                   "placed on one that has it",
                   model.config_file, model.backend);
    }
    return library_->Load(model, variant);
  }

  // The version that matters.
  std::string description() const override { return library_->description(); }

 private:
  const std::unique_ptr<Backend> library_;
  const bool is_plug_in_;
  const std::unique_ptr<Backend> copy_ = MakeCopyBackend();
};

Result<std::unique_ptr<Backend>> MakeComputingBackend(const DeviceSpec& device) {
  DULY_ASSIGN_OR_RETURN(std::unique_ptr<Backend> library, IsPlugIn(device)
                                                              ? MakePlugInBackend(device)
                                                              : MakeOnnxRuntimeBackend(device));
  return std::make_unique<ComputingBackend>(std::move(library), device);
}

}  // namespace

std::span<const std::string_view> ModelBackends() { return kModelBackends; }

Result<std::unique_ptr<Backend>> MakeBackend(const DeviceSpec& device) {
  if (device.kind != DeviceKind::kEmulated) return MakeComputingBackend(device);
  Faults faults;
  Result<Profile> profile = LoadProfile(device.profile_file, faults);
  if (!profile) return Error(faults.empty() ? profile.error() : faults.ToStatus());
  std::unique_ptr<Backend> outputs;
  if (device.compute) {
    DULY_ASSIGN_OR_RETURN(outputs, MakeComputingBackend(device));
  } else {
    outputs = MakeZeroBackend();
  }
  return MakeEmulatedBackend(device, *std::move(profile), std::move(outputs));
}

}  // namespace duly
