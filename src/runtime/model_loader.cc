// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "model/complete.h"
#include "runtime/measure.h"
#include "runtime/steady_clock.h"
#include "runtime/warm_up.h"

namespace duly {
namespace {

std::string VariantLabel(const ModelSpec& model, const VariantSpec& variant) {
  return fmt::format("model '{}' version {}, variant '{}'", model.name, model.version,
                     variant.name);
}

// As the profile says, else measured.
Result<LatencyCurve> CurveOf(const ModelSpec& model, const VariantSpec& variant,
                             const DeviceSpec& device, const Profile& profile,
                             LoadedVariant& loaded) {
  if (const VariantProfile* known = profile.Find(model.name, variant.name, device.name)) {
    return LatencyCurve::Create(known->points);
  }
  MeasureOptions brief;
  brief.max_rows = 8;
  DULY_ASSIGN_OR_RETURN(const std::vector<ProfilePoint> points,
                        Measure(loaded, model, SteadyClock(), brief));
  spdlog::info("measured {} on {}: {:.3f} ms for one row", VariantLabel(model, variant),
               device.name, ToMillis(points.front().mean));
  return LatencyCurve::Create(points);
}

bool IsPlaced(const NodeOptions& options, const std::string& model, const std::string& device) {
  const auto placement =
      std::ranges::find(options.placement, model, [](const auto& entry) { return entry.first; });
  return placement == options.placement.end() ||
         std::ranges::find(placement->second, device) != placement->second.end();
}

}  // namespace

Result<LoadedModel> LoadModel(ModelSpec model, const NodeOptions& options, Faults& faults) {
  LoadedModel result;
  Generation& generation = result.generation;
  generation.model = model.name;
  generation.version = model.version;
  generation.default_variant = static_cast<std::uint32_t>(model.default_variant);
  generation.batching = model.dynamic_batching;
  generation.slo = model.slo;
  generation.timeout = model.timeout;
  result.by_device.resize(options.devices.size());

  bool complete = !model.inputs.empty();
  for (VariantSpec& spec : model.variants) {
    Variant variant;
    variant.name = spec.name;
    variant.accuracy_pct = spec.accuracy_pct.value_or(0);
    const auto fault = [&](std::string_view what, const Status& status) {
      faults.Add({spec.file.empty() ? model.folder : spec.file, 0, 0,
                  fmt::format("{}: {}{}", VariantLabel(model, spec), what, status.message()), ""});
    };
    for (DeviceIndex d = 0; d < options.devices.size(); ++d) {
      std::vector<std::unique_ptr<LoadedVariant>>& here = result.by_device[d];
      here.emplace_back();
      const DeviceSpec& device = options.devices[d].spec;
      if (!IsPlaced(options, model.name, device.name)) continue;
      Result<std::unique_ptr<LoadedVariant>> loaded = options.devices[d].backend->Load(model, spec);
      if (!loaded) {
        fault("", loaded.error());
        continue;
      }
      // The first file says what the configuration leaves open; the others must agree with it.
      if (const Status agrees = CompleteFromFile(model, (*loaded)->inputs(), (*loaded)->outputs());
          !agrees.ok()) {
        fault("", agrees);
        continue;
      }
      complete = true;
      if (spec.memory_bytes == 0) spec.memory_bytes = (*loaded)->memory_bytes();
      if (const Status ran = WarmUp(model, **loaded); !ran.ok()) {
        fault("", ran);
        continue;
      }
      Result<LatencyCurve> curve = CurveOf(model, spec, device, options.profile, **loaded);
      if (!curve) {
        fault("a run on zeros failed: ", curve.error());
        continue;
      }
      Placement place;
      place.device = d;
      place.instances = InstancesOf(model, device.behaviour.mechanism, device.slots);
      place.service = ServicePrediction(std::move(*curve));
      variant.placements.push_back(std::move(place));
      here.back() = std::move(*loaded);
    }
    generation.variants.push_back(std::move(variant));
  }
  if (!complete) {
    return Error(StatusCode::kInvalidArgument, "model '{}' could not be loaded", model.name);
  }
  generation.max_rows = model.max_rows;
  result.spec = std::move(model);
  return result;
}

}  // namespace duly
