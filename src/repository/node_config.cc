// SPDX-License-Identifier: Apache-2.0
#include "repository/node_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string_view>

#include "base/closest_name.h"
#include "base/yaml_reader.h"
#include "profile/device_reader.h"

namespace duly {
namespace {

constexpr std::uint32_t kMaxSlots = 1024;
constexpr std::uint32_t kMaxThreads = 1024;
constexpr std::uint32_t kMaxCore = 65535;
constexpr std::uint32_t kMaxQueueRequests = 1'000'000;

template <typename Range, typename Name>
std::vector<std::string_view> NamesOf(const Range& range, Name name) {
  std::vector<std::string_view> names;
  for (const auto& element : range) names.push_back(std::invoke(name, element));
  return names;
}

// A name that nothing before has.
std::string ReadNewName(YamlMap& map, const std::vector<std::string_view>& taken) {
  const YamlValue value = map.Required("name");
  std::string name = value.AsText().value_or("");
  if (!name.empty() && std::find(taken.begin(), taken.end(), name) != taken.end()) {
    value.Fail(fmt::format("name '{}' is given again", name), "each name once");
  }
  return name;
}

// Which device has a core, for all devices together.
using CoreOwners = std::map<std::uint32_t, std::string>;

void ReadCores(const YamlValue& value, DeviceSpec& device, CoreOwners& owners) {
  const std::vector<YamlValue> items = value.AsNonEmptyList();
  for (const YamlValue& item : items) {
    const std::optional<std::uint32_t> core = item.AsCount(0, kMaxCore);
    if (!core) continue;
    const auto [owner, is_new] = owners.emplace(*core, device.name);
    if (is_new) {
      device.cores.push_back(*core);
    } else {
      item.Fail(fmt::format("core {} is given to device '{}' already", *core, owner->second),
                "each core once");
    }
  }
}

void ReadOptions(const YamlValue& value, std::map<std::string, std::string>& options) {
  for (const auto& [key, option] : value.AsMap().Rest()) {
    if (const std::optional<std::string> text = option.AsText()) options.emplace(key, *text);
  }
}

void ReadProvider(const YamlValue& value, ProviderSpec& provider) {
  YamlMap map = value.AsMap();
  provider.name = map.Required("name").AsText().value_or("");
  const YamlValue library = map["library"];
  provider.plug_in = library.AsFile().value_or("");
  const YamlValue hardware = map["hardware"];
  provider.hardware =
      hardware.AsChoice<std::string>({{"cpu", "cpu"}, {"gpu", "gpu"}, {"npu", "npu"}}).value_or("");
  if (hardware.present() && !library.present()) {
    hardware.Fail("'hardware' of a provider without 'library'",
                  "it in 'options', as the provider calls it");
  }
  provider.cache_folder = map["cache"].AsPath().value_or("");
  provider.cpu_fallback = map["cpu_fallback"].AsBool().value_or(true);
  ReadOptions(map["options"], provider.options);
}

void ReadPlugIn(const YamlValue& value, PlugInSpec& plug_in) {
  YamlMap map = value.AsMap();
  plug_in.file = map.Required("library").AsFile().value_or("");
  ReadOptions(map["options"], plug_in.options);
}

DeviceSpec ReadDevice(const YamlValue& value, NodeConfig& config, CoreOwners& owners) {
  DeviceSpec device;
  YamlMap map = value.AsMap();
  device.name = ReadNewName(map, NamesOf(config.devices, &DeviceSpec::name));
  const std::optional<DeviceKind> kind =
      map.Required("kind").AsChoice<DeviceKind>({{"cpu", DeviceKind::kCpu},
                                                 {"accelerator", DeviceKind::kAccelerator},
                                                 {"emulated", DeviceKind::kEmulated}});
  device.kind = kind.value_or(DeviceKind::kCpu);
  const YamlValue slots = map["slots"];
  if (kind != DeviceKind::kEmulated) device.slots = slots.AsCount(1, kMaxSlots).value_or(0);
  const YamlValue threads = map["threads"];
  device.threads_per_slot = threads.AsCount(1, kMaxThreads).value_or(1);
  const YamlValue cores = map["cores"];
  ReadCores(cores, device, owners);
  const bool accelerator = kind == DeviceKind::kAccelerator;
  const YamlValue plug_in = map["plug_in"];
  if (plug_in.present()) ReadPlugIn(plug_in, device.plug_in);
  const YamlValue provider = map["provider"];
  if (provider.present()) ReadProvider(provider, device.provider);
  if (provider.present() && plug_in.present()) {
    plug_in.Fail("'plug_in' of a device with a provider", "one of the two");
  }
  if (accelerator && !provider.present() && !plug_in.present()) {
    value.Fail("an accelerator without 'provider' or 'plug_in'", "what computes on it");
  }
  if (accelerator && cores.present()) {
    cores.Fail("'cores' of a device of kind accelerator", "no such key: it takes none");
  }
  for (const YamlValue* computing : {&provider, &plug_in}) {
    if (kind != DeviceKind::kEmulated || !computing->present()) continue;
    computing->Fail(fmt::format("'{}' of an emulated device", computing->name()),
                    "kind: cpu or accelerator, or no such key");
  }

  const YamlValue emulates = map["emulates"];
  const YamlValue seed = map["seed"];
  device.seed = static_cast<std::uint64_t>(
      seed.AsInteger(0, std::numeric_limits<std::int64_t>::max()).value_or(1));
  const YamlValue compute = map["compute"];
  device.compute = compute.AsBool().value_or(false);
  if (kind == DeviceKind::kEmulated) {
    device.profile_file = map.Required("profile").AsFile().value_or("");
    if (slots.present()) {
      slots.Fail("'slots' of a device of kind emulated", "slots under 'emulates'");
    }
    if (emulates.present()) {
      YamlMap behaviour = emulates.AsMap();
      device.behaviour = ReadDeviceBehaviour(
          behaviour, std::nullopt, [&](const YamlValue& place, const std::string& model) {
            config.emulated_models.push_back({model, place.place()});
          });
    }
    device.slots = device.behaviour.slots;
    for (const YamlValue* computing : {&threads, &cores}) {
      if (!computing->present() || device.compute) continue;
      computing->Fail(
          fmt::format("'{}' of an emulated device that computes nothing", computing->name()),
          "compute: true beside it, or no such key");
    }
  } else {
    const YamlValue profile = map["profile"];
    for (const YamlValue* emulated : {&profile, &emulates, &seed, &compute}) {
      if (!emulated->present() || !kind) continue;
      emulated->Fail(fmt::format("'{}' of a device that is not emulated", emulated->name()),
                     "kind: emulated, or no such key");
    }
  }

  const std::uint64_t runnable =
      std::uint64_t{std::max(device.slots, 1u)} * device.threads_per_slot;
  if (!device.cores.empty() && runnable > device.cores.size()) {
    (slots.present() ? slots : threads)
        .Fail(fmt::format("device '{}' runs {} x {} threads at once on {} cores", device.name,
                          std::max(device.slots, 1u), device.threads_per_slot, device.cores.size()),
              "slots x threads up to the number of cores");
  }
  return device;
}

void ReadApplication(const YamlValue& value, NodeConfig& config) {
  ApplicationSpec application;
  NodeConfig::ApplicationPlaces places;
  YamlMap map = value.AsMap();
  application.name = ReadNewName(map, NamesOf(config.applications, &ApplicationSpec::name));
  const YamlValue model = map.Required("model");
  application.model = model.AsText().value_or("");
  places.model = model.place();
  application.slo = map["slo"].AsPositiveDuration();
  application.timeout = map["timeout"].AsPositiveDuration();
  ReadServing(map, application);
  const YamlValue min_accuracy = map["min_accuracy"];
  application.min_accuracy_pct = min_accuracy.AsNumber(0, 100);
  places.min_accuracy = min_accuracy.place();
  application.rate_per_s = map["rate"].AsRate().value_or(0);
  config.applications.push_back(std::move(application));
  config.application_places.push_back(std::move(places));
}

void ReadRoot(YamlMap& root, NodeConfig& config) {
  const YamlValue devices = root["devices"];
  if (devices.present()) {
    config.devices.clear();
    CoreOwners owners;
    const std::vector<YamlValue> items = devices.AsNonEmptyList();
    for (const YamlValue& item : items) {
      config.devices.push_back(ReadDevice(item, config, owners));
    }
  }
  const std::vector<YamlValue> applications = root["applications"].AsList();
  for (const YamlValue& item : applications) ReadApplication(item, config);
  std::vector<std::string> names;
  for (const DeviceSpec& device : config.devices) names.push_back(device.name);
  ReadPlacement(root["placement"], names, config.placement);
  ReadPolicy(root["policy"], config.policy);
  YamlMap limits = root["limits"].AsMap();
  config.limits.queue_requests =
      limits["queue_requests"].AsCount(1, kMaxQueueRequests).value_or(config.limits.queue_requests);
  config.limits.body_bytes = limits["body"].AsSize().value_or(config.limits.body_bytes);
}

std::string UnknownModel(const std::string& name, const std::vector<std::string_view>& known) {
  std::string what = fmt::format("there is no model '{}'", name);
  const std::string_view closest = ClosestName(name, known);
  if (!closest.empty()) what += fmt::format(" (did you mean '{}'?)", closest);
  return what;
}

}  // namespace

void ReadPolicy(const YamlValue& value, PolicyConfig& policy) {
  if (!value.present()) return;
  YamlMap map = value.AsMap();
  const YamlValue name = map.Required("name");
  policy.name = name.AsText().value_or("");
  policy.place = name.place();
  for (const auto& [key, option] : map.Rest()) {
    const std::optional<std::string> text = option.AsText();
    if (text) policy.options.push_back({key, *text, option.key_place(), option.place()});
  }
}

void ReadPlacement(const YamlValue& value, std::span<const std::string> devices,
                   std::vector<ModelPlacement>& placement) {
  YamlMap map = value.AsMap();
  for (const auto& [model, names] : map.Rest()) {
    ModelPlacement& entry = placement.emplace_back();
    entry.model = model;
    entry.place = names.key_place();
    const std::vector<YamlValue> items = names.AsNonEmptyList();
    for (const YamlValue& item : items) {
      const std::optional<std::string> device = item.AsText();
      if (!device) continue;
      if (std::ranges::find(devices, *device) == devices.end()) {
        item.Fail(fmt::format("there is no device '{}'", *device),
                  fmt::format("one of: {}", fmt::join(devices, ", ")));
      } else if (std::ranges::find(entry.devices, *device) != entry.devices.end()) {
        item.Fail(fmt::format("device '{}' is given again", *device), "each device once");
      }
      entry.devices.push_back(*device);
    }
  }
}

void ReadServing(YamlMap& application, ApplicationSpec& spec) {
  spec.weight = application["weight"].AsPositiveNumber().value_or(1);
  spec.on_miss = application["on_miss"]
                     .AsChoice<OnMiss>({{ToString(OnMiss::kRefuse), OnMiss::kRefuse},
                                        {ToString(OnMiss::kServeLate), OnMiss::kServeLate},
                                        {ToString(OnMiss::kDegrade), OnMiss::kDegrade}})
                     .value_or(OnMiss::kRefuse);
  const YamlValue budget = application["accuracy_budget"];
  if (!budget.present()) return;
  YamlMap map = budget.AsMap();
  AccuracyBudget& read = spec.accuracy_budget.emplace();
  read.mean_loss_pct = map.Required("mean_loss").AsNumber(0, 100).value_or(0);
  read.answers = map["answers"].AsCount(1, kMaxBudgetAnswers).value_or(read.answers);
  if (spec.on_miss != OnMiss::kDegrade) {
    budget.Fail("accuracy_budget of an application that does not degrade", "on_miss: degrade");
  }
}

DeviceSpec DefaultDevice() {
  DeviceSpec device;
  device.name = "cpu";
  return device;
}

NodeConfig ParseNodeConfig(const std::string& text, const std::string& file, Faults& faults) {
  NodeConfig config;
  config.file = file;
  ReadYaml(text, file, faults, [&](YamlMap& root) { ReadRoot(root, config); });
  return config;
}

NodeConfig LoadNodeConfig(const std::string& file, Faults& faults) {
  NodeConfig config;
  config.file = file;
  LoadYaml(file, faults, [&](YamlMap& root) { ReadRoot(root, config); });
  return config;
}

void CheckAgainstModels(const NodeConfig& config, std::span<const ModelSpec> models,
                        Faults& all_faults) {
  Faults faults;
  std::vector<std::string_view> known = NamesOf(models, &ModelSpec::name);
  known.erase(std::unique(known.begin(), known.end()), known.end());
  const std::string expected = fmt::format("one of: {}", fmt::join(known, ", "));
  const auto check = [&](const std::string& name, const Place& place) {
    if (std::ranges::find(known, name) != known.end()) return;
    faults.Add(place, UnknownModel(name, known), expected);
  };
  for (const ModelPlacement& placement : config.placement) check(placement.model, placement.place);
  for (const NodeConfig::NamedModel& named : config.emulated_models)
    check(named.model, named.place);
  for (std::size_t i = 0; i < config.applications.size(); ++i) {
    check(config.applications[i].model, config.application_places[i].model);
  }
  faults.Sort();
  all_faults.Append(std::move(faults));
}

void CheckFloors(const NodeConfig& config, std::span<const ModelSpec> models, Faults& all_faults) {
  Faults faults;
  for (std::size_t i = 0; i < config.applications.size(); ++i) {
    const ApplicationSpec& application = config.applications[i];
    const Place& place = config.application_places[i].min_accuracy;
    if (!application.min_accuracy_pct) continue;
    const auto model = std::ranges::find(models, application.model, &ModelSpec::name);
    if (model == models.end()) continue;
    const VariantSpec* best = nullptr;
    for (const VariantSpec& variant : model->variants) {
      if (!variant.accuracy_pct) continue;
      if (best == nullptr || *variant.accuracy_pct > *best->accuracy_pct) best = &variant;
    }
    if (best == nullptr) {
      faults.Add(place,
                 fmt::format("min_accuracy is {}, and no variant of '{}' states its accuracy",
                             *application.min_accuracy_pct, model->name),
                 "an accuracy in the model's duly.yaml");
    } else if (*best->accuracy_pct < *application.min_accuracy_pct) {
      faults.Add(place,
                 fmt::format("min_accuracy is {}, which no variant of '{}' reaches",
                             *application.min_accuracy_pct, model->name),
                 fmt::format("at most {}, the accuracy of '{}'", *best->accuracy_pct, best->name));
    }
  }
  faults.Sort();
  all_faults.Append(std::move(faults));
}

}  // namespace duly
