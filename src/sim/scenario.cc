// SPDX-License-Identifier: Apache-2.0
#include "sim/scenario.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include "base/units.h"
#include "base/yaml_reader.h"
#include "profile/catalogue.h"
#include "profile/device_reader.h"

namespace duly::sim {
namespace {

constexpr std::uint32_t kMaxSlots = 1024;
constexpr std::uint32_t kMaxRows = 65536;
constexpr std::uint32_t kMaxWarmUpRuns = 1000;
constexpr std::uint32_t kMaxQueueRequests = 1'000'000;
constexpr double kMaxWatts = 1e6;
constexpr double kMaxCelsius = 1000;
// The least that TCP waits before it sends again (RFC 6298 recommends 1 s, Linux takes this).
constexpr Duration kRetransmit = std::chrono::milliseconds(200);

class ScenarioReader {
 public:
  ScenarioReader(Scenario& scenario, Faults& inner) : scenario_(scenario), inner_(inner) {}

  void Read(YamlMap& root) {
    scenario_.about = root["about"].AsText().value_or("");
    scenario_.duration = root["duration"].AsPositiveDuration().value_or(scenario_.duration);
    scenario_.warmup = root["warmup"].AsDuration().value_or(scenario_.warmup);
    scenario_.seed = static_cast<std::uint64_t>(
        root["seed"].AsInteger(0, std::numeric_limits<std::int64_t>::max()).value_or(1));
    scenario_.load_factor = root["load_factor"].AsPositiveNumber().value_or(1);
    ReadPolicy(root["policy"], policy_);
    catalogue_ = Catalogue::Read(root["catalogue"], inner_);
    for (const YamlValue& model : root.Required("models").AsNonEmptyList()) ReadModel(model);
    for (const YamlValue& node : root.Required("nodes").AsNonEmptyList()) ReadNode(node);
    for (const YamlValue& application : root.Required("applications").AsNonEmptyList()) {
      ReadApplication(application);
    }
    for (const YamlValue& event : root["events"].AsList()) ReadEvent(event);
  }

 private:
  struct NodeInMaking {
    std::set<std::string> names;           // of its devices
    std::set<std::string> boards;          // of the catalogue, with power
    std::vector<VariantProfile> profiles;  // of the catalogue
  };

  // A name that nothing of its kind has.
  static std::string NewName(YamlMap& map, std::set<std::string>& taken) {
    const YamlValue value = map.Required("name");
    std::string name = value.AsText().value_or("");
    if (!name.empty() && !taken.insert(name).second) {
      value.Fail(fmt::format("name '{}' is given again", name), "each name once");
    }
    return name;
  }

  // A name of `taken`, which must hold all names by now.
  static void CheckName(const YamlValue& value, std::string_view what, const std::string& name,
                        const std::set<std::string>& known) {
    if (name.empty() || known.contains(name)) return;
    value.Fail(fmt::format("there is no {} '{}'", what, name),
               fmt::format("one of: {}", fmt::join(known, ", ")));
  }

  // A word or a list of them.
  static std::vector<std::string> NamesOf(const YamlValue& value, const std::string& otherwise) {
    std::vector<std::string> names;
    if (value.is_list()) {
      for (const YamlValue& item : value.AsNonEmptyList()) {
        names.push_back(item.AsText().value_or(""));
      }
    } else {
      names.push_back(value.AsText().value_or(otherwise));
    }
    return names;
  }

  void ReadModel(const YamlValue& value) {
    YamlMap map = value.AsMap();
    ModelSpec model;
    scenario_.model_places.push_back(value.place());
    model.name = NewName(map, models_);
    model.max_rows = map["max_batch_size"].AsCount(0, kMaxRows).value_or(0);
    model.slo = map["slo"].AsPositiveDuration();
    model.timeout = map["timeout"].AsPositiveDuration();
    model.instances = map["instances"].AsCount(1, kMaxSlots).value_or(0);
    scenario_.load_times.push_back(map["load_time"].AsDuration().value_or(Duration(0)));
    model.warmup_runs = map["warmup"].AsCount(0, kMaxWarmUpRuns).value_or(model.warmup_runs);
    if (const YamlValue batching = map["dynamic_batching"]; batching.present()) {
      YamlMap settings = batching.AsMap();
      DynamicBatching& dynamic = model.dynamic_batching.emplace();
      dynamic.max_queue_delay = settings["max_queue_delay"].AsDuration().value_or(Duration(0));
      for (const YamlValue& rows : settings["preferred_batch_size"].AsList()) {
        dynamic.preferred_rows.push_back(rows.AsCount(1, kMaxRows).value_or(1));
      }
      std::ranges::sort(dynamic.preferred_rows);
    }
    CatalogueModel of_catalogue{model.name, map["is"].AsText().value_or(model.name), {}};
    std::set<std::string> names;
    for (const YamlValue& item : map["variants"].AsList()) {
      YamlMap entry = item.AsMap();
      VariantSpec& variant = model.variants.emplace_back();
      variant.name = NewName(entry, names);
      variant.accuracy_pct = entry["accuracy"].AsNumber(0, 100);
      of_catalogue.variants.push_back({variant.name, NamesOf(entry["is"], variant.name)});
      for (const std::string& is : of_catalogue.variants.back().is) {
        if (variant.accuracy_pct) break;
        variant.accuracy_pct = catalogue_.AccuracyOf(of_catalogue.is, is);
      }
    }
    of_catalogue_.push_back(std::move(of_catalogue));
    if (model.variants.empty()) model.variants.emplace_back().name = "default";
    if (const std::optional<std::string> name = map["default_variant"].AsText()) {
      const auto named = std::ranges::find(model.variants, *name, &VariantSpec::name);
      if (named == model.variants.end()) {
        map["default_variant"].Fail(
            fmt::format("model '{}' has no variant '{}'", model.name, *name),
            fmt::format("one of: {}", fmt::join(names, ", ")));
      } else {
        model.default_variant = static_cast<std::size_t>(named - model.variants.begin());
      }
    }
    if (model.variants.size() > kMaxVariants) {
      value.Fail(fmt::format("model '{}' has {} variants", model.name, model.variants.size()),
                 fmt::format("at most {}", kMaxVariants));
      model.variants.resize(kMaxVariants);
    }
    scenario_.models.push_back(std::move(model));
  }

  // What the catalogue says of a device, before the scenario changes it.
  void TakeFrom(const Catalogue::Found& origin, NodeInMaking& making, ScenarioDevice& device) {
    const BoardDevice& known = *origin.device;
    DeviceBehaviour& behaviour = device.behaviour;
    behaviour.mechanism = known.kind;
    behaviour.cores = known.cores;
    behaviour.threads = known.most_threads();
    for (const BoardVariant& variant : known.variants) {
      for (const CatalogueModel& model : of_catalogue_) {
        if (known.kind == DeviceMechanism::kEdgeTpu && model.is == variant.model) {
          behaviour.swap[model.name] = variant.swap;
        }
      }
    }
    if (!known.power) return;
    // The power of the whole board counts once, with the first of its devices.
    const bool is_first = making.boards.insert(origin.board_name).second;
    device.idle_w = is_first ? origin.board->static_w : 0;
    SetBusyPower(known, origin.hz, *device.idle_w, device.busy_w.emplace(), device.one_row_w);
  }

  static void SetBusyPower(const BoardDevice& device, std::uint64_t hz, double idle_w,
                           double& busy_w, double& one_row_w) {
    const double many_w = device.Watts(hz, std::numeric_limits<std::uint32_t>::max());
    busy_w = idle_w + many_w;
    one_row_w = many_w - device.Watts(hz, 1);
  }

  ScenarioDevice ReadDevice(const YamlValue& value, NodeInMaking& making) {
    YamlMap map = value.AsMap();
    ScenarioDevice device;
    device.name = NewName(map, making.names);
    const YamlValue is = map["is"];
    std::optional<Catalogue::Found> origin;
    std::optional<DeviceBehaviour> known;
    if (is.present()) {
      origin = catalogue_.Find(is, map["frequency"]);
      if (origin) TakeFrom(*origin, making, device);
      known = device.behaviour;
    }
    device.behaviour =
        ReadDeviceBehaviour(map, known, [&](const YamlValue& named, const std::string& name) {
          CheckName(named, "model", name, models_);
        });
    if (device.behaviour.slots == 0) {
      device.behaviour.slots = static_cast<std::uint32_t>(models_.size());
    }
    if (const YamlValue power = map["power"]; power.present()) {
      YamlMap settings = power.AsMap();
      device.idle_w = settings.Required("idle_w").AsNumber(0, kMaxWatts);
      device.busy_w = settings.Required("busy_w").AsNumber(0, kMaxWatts);
      device.one_row_w = 0;
    }
    if (origin) {
      const auto profile_at = [&](std::uint64_t hz) {
        return CatalogueProfile(*origin->device, device.name, hz, device.behaviour.threads,
                                of_catalogue_);
      };
      std::ranges::move(profile_at(origin->hz), std::back_inserter(making.profiles));
      const std::vector<std::uint64_t>& clock = origin->device->clock_hz;
      const bool own_power = map["power"].present();
      for (const std::uint64_t hz : clock) {
        ScenarioDevice::ClockStep& step = device.steps.emplace_back();
        step.hz = hz;
        step.profiles = profile_at(hz);
        step.busy_w = device.busy_w.value_or(0);
        step.one_row_w = device.one_row_w;
        if (!own_power && device.busy_w) {
          SetBusyPower(*origin->device, hz, *device.idle_w, step.busy_w, step.one_row_w);
        }
      }
      device.step = static_cast<std::size_t>(std::ranges::find(clock, origin->hz) - clock.begin());
      device.clock_change = origin->device->clock_change;
    }
    if (const YamlValue thermal = map["thermal"]; thermal.present()) ReadThermal(thermal, device);
    return device;
  }

  static void ReadThermal(const YamlValue& value, ScenarioDevice& device) {
    YamlMap map = value.AsMap();
    ThermalSpec& thermal = device.thermal.emplace();
    thermal.ambient_c = map["ambient"].AsNumber(-kMaxCelsius, kMaxCelsius).value_or(25);
    thermal.resistance_c_per_w = map.Required("resistance").AsPositiveNumber().value_or(1);
    thermal.time_constant =
        map.Required("time_constant").AsPositiveDuration().value_or(thermal.time_constant);
    const YamlValue release = map.Required("release_at");
    thermal.throttle_c =
        map.Required("throttle_at").AsNumber(-kMaxCelsius, kMaxCelsius).value_or(kMaxCelsius);
    thermal.release_c = release.AsNumber(-kMaxCelsius, kMaxCelsius).value_or(-kMaxCelsius);
    thermal.poll = map["poll"].AsPositiveDuration().value_or(thermal.poll);
    if (thermal.release_c >= thermal.throttle_c) {
      release.Fail("released where it is throttled", "release_at below throttle_at");
    }
    if (device.steps.size() < 2 || !device.busy_w) {
      value.Fail("a device without power or without steps of its clock",
                 "'thermal' of a device of the catalogue that has both");
    }
  }

  void ReadNode(const YamlValue& value) {
    YamlMap map = value.AsMap();
    ScenarioNode node;
    node.place = value.place();
    node.name = NewName(map, nodes_);
    NodeInMaking making;
    std::vector<std::string> in_order;
    for (const YamlValue& device : map.Required("devices").AsNonEmptyList()) {
      node.devices.push_back(ReadDevice(device, making));
      in_order.push_back(node.devices.back().name);
    }
    const YamlValue profile = making.profiles.empty() ? map.Required("profile") : map["profile"];
    if (profile.is_map()) {
      YamlMap inside = profile.AsMap();
      ReadProfile(inside, node.profile);
    } else if (const std::optional<std::string> file = profile.AsFile()) {
      if (Result<Profile> read = LoadProfile(*file, inner_)) node.profile = *std::move(read);
    }
    // What the scenario says itself goes before the catalogue.
    std::erase_if(making.profiles, [&](const VariantProfile& entry) {
      return node.profile.Find(entry.model, entry.variant, entry.device) != nullptr;
    });
    for (ScenarioDevice& device : node.devices) {
      for (ScenarioDevice::ClockStep& step : device.steps) {
        std::erase_if(step.profiles, [&](const VariantProfile& entry) {
          return node.profile.Find(entry.model, entry.variant, entry.device) != nullptr;
        });
      }
    }
    std::ranges::move(making.profiles, std::back_inserter(node.profile.variants));
    ReadPlacement(map["placement"], in_order, node.placement);
    for (const YamlValue& item : map["without"].AsList()) {
      if (const auto model = IndexOf(item, "model", scenario_.models, &ModelSpec::name)) {
        node.without.push_back(*model);
      }
    }
    node.policy = policy_;
    if (const YamlValue policy = map["policy"]; policy.present()) {
      node.policy.options.clear();
      ReadPolicy(policy, node.policy);
    }
    YamlMap limits = map["limits"].AsMap();
    node.limits.queue_requests =
        limits["queue_requests"].AsCount(1, kMaxQueueRequests).value_or(node.limits.queue_requests);
    node.service_factor = map["service_factor"].AsPositiveNumber().value_or(1);
    node.batch_overhead = map["batch_overhead"].AsDuration().value_or(Duration(0));
    YamlMap link = map["link"].AsMap();
    node.to_node.latency = link["request"].AsDuration().value_or(Duration(0));
    const YamlValue bandwidth = link["bytes_per_s"];
    const std::optional<std::uint64_t> bytes_per_s = bandwidth.AsSize();
    if (bytes_per_s == 0U) bandwidth.Fail("bytes_per_s is 0", "more, or no such key");
    node.to_node.bytes_per_s = static_cast<double>(bytes_per_s.value_or(0));
    constexpr double kMaxLoss = 0.9;
    node.to_node.loss = link["loss"].AsNumber(0, kMaxLoss).value_or(0);
    node.to_node.retransmit = link["retransmit"].AsDuration().value_or(kRetransmit);
    node.from_node = node.to_node;
    node.from_node.latency = link["response"].AsDuration().value_or(Duration(0));
    scenario_.nodes.push_back(std::move(node));
  }

  void ReadApplication(const YamlValue& value) {
    YamlMap map = value.AsMap();
    ScenarioApplication application;
    application.place = value.place();
    application.load = workload::ReadApplicationLoad(map, inner_);
    ReadServing(map, application.load.spec);
    const std::string& name = application.load.spec.name;
    if (!name.empty() && !applications_.insert(name).second) {
      value.Fail(fmt::format("application '{}' is given again", name), "unique names");
    }
    CheckName(value, "model", application.load.spec.model, models_);
    application.request_bytes = map["request_size"].AsSize().value_or(0);
    application.response_bytes = map["response_size"].AsSize().value_or(0);
    for (const YamlValue& item : map["nodes"].AsList()) {
      const std::string node = item.AsText().value_or("");
      CheckName(item, "node", node, nodes_);
      application.nodes.push_back(node);
    }
    scenario_.applications.push_back(std::move(application));
  }

  // Of the one that the value names; a fault where there is none.
  template <typename Range, typename Name>
  static std::optional<std::uint32_t> IndexOf(const YamlValue& value, std::string_view what,
                                              const Range& range, Name name_of) {
    const std::optional<std::string> name = value.AsText();
    if (!name) return std::nullopt;
    std::set<std::string> known;
    std::uint32_t index = 0;
    for (const auto& element : range) {
      if (std::invoke(name_of, element) == *name) return index;
      known.insert(std::invoke(name_of, element));
      ++index;
    }
    CheckName(value, what, *name, known);
    return std::nullopt;
  }

  void ReadEvent(const YamlValue& value) {
    using Event = ScenarioEvent::Kind;
    YamlMap map = value.AsMap();
    ScenarioEvent event;
    event.place = value.place();
    event.at = map.Required("at").AsDuration().value_or(Duration(0));
    const YamlValue load = map["load"];
    const YamlValue unload = map["unload"];
    const YamlValue frequency = map["frequency"];
    const YamlValue move = map["move"];
    const auto present = {load.present(), unload.present(), frequency.present(), move.present()};
    if (std::ranges::count(present, true) != 1) {
      value.Fail("an event does one thing", "one of: load, unload, frequency, move");
      return;
    }
    const std::optional<std::uint32_t> node = IndexOf(map.Required(move.present() ? "to" : "node"),
                                                      "node", scenario_.nodes, &ScenarioNode::name);
    event.node = node.value_or(0);
    std::optional<std::uint32_t> what;
    if (load.present() || unload.present()) {
      event.kind = load.present() ? Event::kLoad : Event::kUnload;
      what = IndexOf(load.present() ? load : unload, "model", scenario_.models, &ModelSpec::name);
      event.model = what.value_or(0);
    } else if (move.present()) {
      event.kind = Event::kMove;
      what = IndexOf(move, "application", scenario_.applications,
                     [](const ScenarioApplication& a) { return a.load.spec.name; });
      event.application = what.value_or(0);
    } else {
      event.kind = Event::kFrequency;
      const YamlValue device = map.Required("device");
      if (node) {
        what = IndexOf(device, "device", scenario_.nodes[*node].devices, &ScenarioDevice::name);
      }
      event.device = what.value_or(0);
      if (what) what = StepOf(frequency, scenario_.nodes[*node].devices[*what], event);
    }
    if (node && what) scenario_.events.push_back(std::move(event));
  }

  static std::optional<std::uint32_t> StepOf(const YamlValue& value, const ScenarioDevice& device,
                                             ScenarioEvent& event) {
    const std::optional<std::uint64_t> hz = value.AsFrequency();
    if (!hz) return std::nullopt;
    std::vector<std::uint64_t> steps;
    for (const ScenarioDevice::ClockStep& step : device.steps) steps.push_back(step.hz);
    if (!IsClockStep(value, *hz, steps)) return std::nullopt;
    event.step = static_cast<std::size_t>(std::ranges::find(steps, *hz) - steps.begin());
    return event.device;
  }

  Scenario& scenario_;
  Faults& inner_;  // of the files that it names
  Catalogue catalogue_;
  std::vector<CatalogueModel> of_catalogue_;  // as scenario_.models
  PolicyConfig policy_;
  std::set<std::string> models_;
  std::set<std::string> nodes_;
  std::set<std::string> applications_;
};

}  // namespace

Scenario ParseScenario(const std::string& text, const std::string& file, Faults& faults) {
  Scenario scenario;
  scenario.file = file;
  Faults inner;
  ReadYaml(text, file, faults, [&](YamlMap& root) { ScenarioReader(scenario, inner).Read(root); });
  faults.Append(std::move(inner));
  return scenario;
}

Scenario ReadScenario(const std::string& file, Faults& faults) {
  Scenario scenario;
  scenario.file = file;
  Faults inner;
  LoadYaml(file, faults, [&](YamlMap& root) { ScenarioReader(scenario, inner).Read(root); });
  faults.Append(std::move(inner));
  return scenario;
}

}  // namespace duly::sim
