// SPDX-License-Identifier: Apache-2.0
#include "backend/registry.h"

#include <fmt/ranges.h>

#include <array>
#include <string>
#include <utility>

#include "backend/copy/copy_backend.h"
#include "backend/emulated/emulated_backend.h"
#include "backend/emulated/zero_backend.h"
#include "backend/onnxruntime/onnxruntime_backend.h"
#include "base/fault.h"
#include "profile/profile.h"

namespace duly {
namespace {

constexpr std::array<std::string_view, 2> kModelBackends{"onnxruntime", kCopyBackend};

// Computes what is asked, by the back end that the model names.
class ComputingBackend final : public Backend {
 public:
  explicit ComputingBackend(std::unique_ptr<Backend> onnxruntime)
      : backends_{std::move(onnxruntime), MakeCopyBackend()} {}

  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& variant) override {
    for (std::size_t i = 0; i < kModelBackends.size(); ++i) {
      if (kModelBackends[i] == model.backend) return backends_[i]->Load(model, variant);
    }
    return Error(StatusCode::kInvalidArgument, "{}: unknown back end '{}': expected one of {}",
                 model.config_file, model.backend, fmt::join(kModelBackends, ", "));
  }

  // The version that matters.
  std::string description() const override { return backends_.front()->description(); }

 private:
  const std::array<std::unique_ptr<Backend>, kModelBackends.size()> backends_;
};

Result<std::unique_ptr<Backend>> MakeComputingBackend(const DeviceSpec& device) {
  DULY_ASSIGN_OR_RETURN(std::unique_ptr<Backend> onnxruntime, MakeOnnxRuntimeBackend(device));
  return std::make_unique<ComputingBackend>(std::move(onnxruntime));
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
