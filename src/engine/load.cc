// SPDX-License-Identifier: Apache-2.0
#include "engine/load.h"

#include <fmt/format.h>

#include <set>
#include <utility>

namespace duly {
namespace {

template <typename... Values>
Status Wrong(fmt::format_string<Values...> format, Values&&... values) {
  return Status(StatusCode::kInvalidArgument, fmt::format(format, std::forward<Values>(values)...));
}

}  // namespace

Status CheckApplication(const Application& application) {
  if (!(application.weight > 0)) {
    return Wrong("application '{}' has weight {}", application.name, application.weight);
  }
  if (const std::optional<AccuracyBudget>& budget = application.accuracy_budget) {
    if (!(budget->mean_loss_pct >= 0 && budget->mean_loss_pct <= 100) || budget->answers == 0 ||
        budget->answers > kMaxBudgetAnswers) {
      return Wrong("application '{}' has an accuracy budget of {} over {} answers",
                   application.name, budget->mean_loss_pct, budget->answers);
    }
  }
  return Status();
}

Status CheckGeneration(const Generation& generation, std::size_t devices,
                       std::size_t applications) {
  const std::size_t variants = generation.variants.size();
  if (variants == 0 || variants > kMaxVariants) {
    return Wrong("model '{}' has {} variants", generation.model, variants);
  }
  if (generation.default_variant >= variants) {
    return Wrong("model '{}' has no variant {}", generation.model, generation.default_variant);
  }
  if (generation.default_application >= applications) {
    return Wrong("model '{}' names application {} of {}", generation.model,
                 generation.default_application, applications);
  }
  if (generation.batching) {
    const std::size_t levels = generation.batching->levels.size();
    const std::uint32_t chosen = generation.batching->default_level;
    if (levels > kMaxPriorityLevels || chosen > levels || (levels > 0 && chosen == 0)) {
      return Wrong("model '{}' has priority level {} of {} by default", generation.model, chosen,
                   levels);
    }
  }
  for (const Variant& variant : generation.variants) {
    std::set<DeviceIndex> seen;
    for (const Placement& placement : variant.placements) {
      if (placement.device >= devices) {
        return Wrong("variant '{}' of model '{}' names device {} of {}", variant.name,
                     generation.model, placement.device, devices);
      }
      if (!seen.insert(placement.device).second || placement.instances == 0) {
        return Wrong("variant '{}' of model '{}' is on device {} twice or not at all", variant.name,
                     generation.model, placement.device);
      }
    }
  }
  return Status();
}

Status Apply(const GenerationLoad& load, std::size_t devices, std::vector<Generation>& generations,
             std::vector<Application>& applications) {
  if (load.index > generations.size()) {
    return Wrong("model {} is loaded: there are {}", load.index, generations.size());
  }
  if (load.index < generations.size() && !IsUnloaded(generations[load.index])) {
    return Wrong("model {} is loaded, which is there already", load.index);
  }
  for (const Application& application : load.applications) {
    if (Status status = CheckApplication(application); !status.ok()) return status;
  }
  if (Status status =
          CheckGeneration(load.generation, devices, applications.size() + load.applications.size());
      !status.ok()) {
    return status;
  }
  if (load.index == generations.size()) generations.emplace_back();
  generations[load.index] = load.generation;
  applications.insert(applications.end(), load.applications.begin(), load.applications.end());
  return Status();
}

Status ApplyUnload(GenerationIndex index, std::vector<Generation>& generations) {
  if (index >= generations.size() || IsUnloaded(generations[index])) {
    return Wrong("model {} is unloaded, which is not there", index);
  }
  generations[index].variants.clear();
  return Status();
}

}  // namespace duly
