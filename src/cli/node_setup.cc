// SPDX-License-Identifier: Apache-2.0
#include "cli/node_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "backend/registry.h"
#include "cli/policy_flag.h"
#include "platform/cpu_budget.h"
#include "platform/thread_budget.h"
#include "policy/registry.h"
#include "repository/repository.h"

namespace duly {
namespace {

// The flag's options replace the file's; without options the file's hold for the policy that it
// names.
void TakePolicyFlag(std::string_view flag, NodeSetup& setup) {
  PolicyChoice choice = ParsePolicyFlag(flag);
  if (choice.name == setup.policy_name && choice.options.empty()) return;
  setup.policy_name = std::move(choice.name);
  setup.policy_options = std::move(choice.options);
}

}  // namespace

NodeSetup ReadNodeSetup(const NodeFlags& flags, Faults& faults) {
  NodeSetup setup;
  if (!flags.config_file.empty()) setup.config = LoadNodeConfig(flags.config_file, faults);
  if (flags.repositories.empty()) {
    faults.Add({"", 0, 0, "no model repository is given", "--model-repository DIR"});
  } else if (flags.read_models) {
    setup.models = ReadRepositories(flags.repositories, faults);
    // A model with a fault is missing here; what refers to it would be reported as a second fault.
    if (faults.empty()) {
      CheckAgainstModels(setup.config, setup.models, faults);
      CheckFloors(setup.config, setup.models, faults);
    }
  } else {
    FindModels(flags.repositories, faults);
  }
  if (!flags.profile_file.empty()) {
    if (Result<Profile> profile = LoadProfile(flags.profile_file, faults)) {
      setup.profile = std::move(*profile);
    }
  }
  for (const DeviceSpec& device : setup.config.devices) {
    if (device.kind != DeviceKind::kEmulated || device.profile_file.empty()) continue;
    // An emulated device takes the times that its profile says: there is nothing to measure.
    Result<Profile> own = LoadProfile(device.profile_file, faults);
    if (!own) continue;
    for (VariantProfile& variant : own->variants) {
      variant.device = device.name;
      setup.profile.variants.push_back(std::move(variant));
    }
  }

  std::set<std::string_view> names;
  for (const ModelSpec& model : setup.models) names.insert(model.name);
  for (DeviceSpec& device : setup.config.devices) {
    if (device.slots == 0 && device.behaviour.mechanism == DeviceMechanism::kTimeslice) {
      device.slots = static_cast<std::uint32_t>(names.size());
    }
  }

  setup.policy_name = setup.config.policy.name;
  for (const PolicyOption& option : setup.config.policy.options) {
    setup.policy_options.emplace(option.key, option.value);
  }
  if (!flags.policy.empty()) TakePolicyFlag(flags.policy, setup);
  if (const auto policy = MakeDispatchPolicy(setup.policy_name, setup.policy_options); !policy) {
    const Place& place = setup.config.policy.place;
    faults.Add({flags.policy.empty() ? setup.config.file : "--policy",
                flags.policy.empty() ? place.line : 0, flags.policy.empty() ? place.column : 0,
                policy.error().message(), ""});
  }
  if (faults.empty()) {
    const Result<CpuBudget> budget = ReadCpuBudget();
    const Status settled =
        budget ? CheckThreadBudget(setup.config.devices, *budget) : budget.error();
    if (!settled.ok()) faults.Add({setup.config.file, 0, 0, settled.message(), ""});
  }
  return setup;
}

Result<NodeOptions> ToNodeOptions(NodeSetup setup) {
  NodeOptions options;
  for (DeviceSpec& spec : setup.config.devices) {
    Result<std::unique_ptr<Backend>> backend = MakeBackend(spec);
    if (!backend) return Error(backend.error().WithContext(fmt::format("device '{}'", spec.name)));
    options.devices.push_back({std::move(spec), *std::move(backend)});
  }
  options.models = std::move(setup.models);
  options.applications = std::move(setup.config.applications);
  for (ModelPlacement& placement : setup.config.placement) {
    options.placement.emplace_back(std::move(placement.model), std::move(placement.devices));
  }
  options.profile = std::move(setup.profile);
  options.max_waiting = setup.config.limits.queue_requests;
  DULY_ASSIGN_OR_RETURN(options.policy,
                        MakeDispatchPolicy(setup.policy_name, setup.policy_options));
  return options;
}

}  // namespace duly
