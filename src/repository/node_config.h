// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/fault.h"
#include "base/yaml_reader.h"
#include "model/model_spec.h"

namespace duly {

// One option of a policy, checked by the policy that gets it.
struct PolicyOption {
  std::string key;
  std::string value;
  Place key_place;
  Place value_place;
};

struct PolicyConfig {
  std::string name = "edf";
  Place place;
  std::vector<PolicyOption> options;  // in the order of the file
};

struct NodeLimits {
  std::uint32_t queue_requests = 1024;                 // waiting in the node
  std::uint64_t body_bytes = std::uint64_t{64} << 20;  // of one request
};

// Models that run on some devices only; the others run on every device.
struct ModelPlacement {
  std::string model;
  std::vector<std::string> devices;
  Place place;
};

// A CPU device named "cpu", with what the machine allows (platform/cpu_budget.h).
DeviceSpec DefaultDevice();

// The configuration of a node (`duly serve --config FILE`). Paths in it are relative to the file.
// Its default is DefaultDevice() and no application.
//
//   devices:
//     - {name: cpu, kind: cpu, slots: 2, threads: 1, cores: [0, 1]}
//     - {name: gpu0, kind: emulated, profile: jetson.yaml, seed: 7, compute: true,
//        emulates: {kind: timeslice, slots: 2, noise: {cv: 0.05}, fail_every: 1000}}
//   applications:
//     - {name: detector, model: efficientnet-lite, slo: 100ms, timeout: 1s, weight: 2,
//        on_miss: degrade, min_accuracy: 75, accuracy_budget: {mean_loss: 0.5, answers: 1000},
//        rate: 20/s}
//   placement:
//     fashion: [cpu]
//   policy: {name: edf}
//   limits: {queue_requests: 1024, body: 64MiB}
struct NodeConfig {
  std::string file;  // empty for the default
  // Slots 0: those of a CPU device are its cores' (platform/thread_budget.h), those of an emulated
  // device of time slices the number of models.
  std::vector<DeviceSpec> devices{DefaultDevice()};
  struct NamedModel {
    std::string model;
    Place place;
  };
  std::vector<NamedModel> emulated_models;  // that the behaviour of a device names
  std::vector<ApplicationSpec> applications;
  struct ApplicationPlaces {
    Place model;
    Place min_accuracy;
  };
  std::vector<ApplicationPlaces> application_places;  // of applications, in their order
  std::vector<ModelPlacement> placement;
  PolicyConfig policy;
  NodeLimits limits;
};

// Parts of it that other files have, too. An absent value changes nothing.
void ReadPolicy(const YamlValue& value, PolicyConfig& policy);
void ReadPlacement(const YamlValue& value, std::span<const std::string> devices,
                   std::vector<ModelPlacement>& placement);
void ReadServing(YamlMap& application, ApplicationSpec& spec);

// Everything that the file alone shows wrong is added to `faults`.
NodeConfig ParseNodeConfig(const std::string& text, const std::string& file, Faults& faults);
NodeConfig LoadNodeConfig(const std::string& file, Faults& faults);

// What shows only beside the models. Applications and placements of models that are not there:
void CheckAgainstModels(const NodeConfig& config, std::span<const ModelSpec> models,
                        Faults& faults);
// Accuracies that no variant of these models reaches:
void CheckFloors(const NodeConfig& config, std::span<const ModelSpec> models, Faults& faults);

}  // namespace duly
