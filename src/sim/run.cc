// SPDX-License-Identifier: Apache-2.0
#include "sim/run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "engine/application.h"
#include "sim/profiled_service.h"
#include "sim/sources.h"

namespace duly::sim {

struct ScenarioRun::Assembly {
  std::vector<SimulatedNode> nodes;
  std::vector<std::unique_ptr<Source>> sources;
  std::vector<Tally::SourceFacts> facts;
  std::vector<Watched> watched;
  std::unique_ptr<Changes> changes;
};

namespace {

bool IsPlaced(const ScenarioNode& node, const std::string& model, const std::string& device) {
  const auto placement = std::ranges::find(node.placement, model, &ModelPlacement::model);
  return placement == node.placement.end() || std::ranges::count(placement->devices, device) > 0;
}

// One node in the making.
class NodeAssembly {
 public:
  NodeAssembly(const Scenario& scenario, const ScenarioNode& node, Faults& faults)
      : scenario_(scenario),
        node_(node),
        faults_(faults),
        applications_(scenario.applications.size()) {}

  SimulatedNode Make(const PolicyFactory& make_policy) {
    result_.name = node_.name;
    result_.to_node = node_.to_node;
    result_.from_node = node_.from_node;
    result_.seed = scenario_.seed;
    result_.config.max_waiting = node_.limits.queue_requests;
    for (const ScenarioDevice& device : node_.devices) {
      result_.config.devices.push_back({device.name, device.behaviour.slots});
      // A seed of its own for each node: devices of the same name differ.
      auto service = std::make_unique<ProfiledService>(
          device.behaviour,
          ServiceNoise(device.behaviour, scenario_.seed, DeviceStream(device.name)),
          node_.service_factor, node_.batch_overhead, device.step);
      services_.push_back(service.get());
      result_.devices.push_back({MakeDeviceModel(device.behaviour), std::move(service)});
    }
    for (const ModelSpec& model : scenario_.models) AddModel(model);
    MakePolicy(make_policy);
    return std::move(result_);
  }

  // By device; valid as long as the node.
  const std::vector<ProfiledService*>& services() const { return services_; }
  // What the engine calls the scenario's applications.
  const std::vector<ApplicationIndex>& applications() const { return applications_; }

 private:
  // "DEVICE" where there is one node, as the emulated devices of `serve` name their streams.
  std::string DeviceStream(const std::string& device) const {
    return scenario_.nodes.size() == 1 ? device : fmt::format("{}/{}", node_.name, device);
  }

  // Every model stands in every node, so that indices are the same; where it has no profile it
  // runs on no device.
  void AddModel(const ModelSpec& model) {
    EngineConfig& config = result_.config;
    Generation generation;
    generation.model = model.name;
    generation.max_rows = model.max_rows;
    generation.default_variant = static_cast<std::uint32_t>(model.default_variant);
    generation.batching = model.dynamic_batching;
    generation.slo = model.slo;
    generation.timeout = model.timeout;
    for (std::size_t d = 0; d < result_.devices.size(); ++d) {
      services_[d]->AddGeneration(model);
    }
    for (std::uint32_t v = 0; v < model.variants.size(); ++v) {
      generation.variants.push_back(MakeVariant(model, v));
    }
    // The default application carries the model's name; it may be a declared one.
    generation.default_application = kNoIndex;
    for (std::size_t a = 0; a < scenario_.applications.size(); ++a) {
      const ApplicationSpec& spec = scenario_.applications[a].load.spec;
      if (spec.model != model.name) continue;
      applications_[a] = static_cast<ApplicationIndex>(config.applications.size());
      if (spec.name == model.name) generation.default_application = applications_[a];
      config.applications.push_back(MakeApplication(spec));
    }
    if (generation.default_application == kNoIndex) {
      generation.default_application = static_cast<ApplicationIndex>(config.applications.size());
      config.applications.emplace_back().name = model.name;
    }
    config.generations.push_back(std::move(generation));
  }

  Variant MakeVariant(const ModelSpec& model, std::uint32_t v) {
    const VariantSpec& spec = model.variants[v];
    Variant variant;
    variant.name = spec.name;
    variant.accuracy_pct = spec.accuracy_pct.value_or(0);
    for (DeviceIndex d = 0; d < node_.devices.size(); ++d) {
      const ScenarioDevice& device = node_.devices[d];
      if (!IsPlaced(node_, model.name, device.name)) continue;
      const VariantProfile* const profile = node_.profile.Find(model.name, spec.name, device.name);
      if (profile == nullptr) continue;
      Result<LatencyCurve> curve = LatencyCurve::Create(profile->points);
      if (!curve) {
        faults_.Add(node_.place, fmt::format("node '{}': {}", node_.name, curve.error().message()),
                    "");
        continue;
      }
      services_[d]->SetCurves(v, CurvesByStep(device, *profile, *curve));
      Placement& placement = variant.placements.emplace_back();
      placement.device = d;
      placement.instances = InstancesOf(model, device.behaviour.mechanism, device.behaviour.slots);
      placement.service = ServicePrediction(*std::move(curve));
    }
    return variant;
  }

  // At every step of the clock as the catalogue says; what the scenario says itself is the same at
  // all.
  std::vector<LatencyCurve> CurvesByStep(const ScenarioDevice& device,
                                         const VariantProfile& profile, const LatencyCurve& curve) {
    std::vector<LatencyCurve> curves(std::max<std::size_t>(device.steps.size(), 1), curve);
    for (std::size_t step = 0; step < device.steps.size(); ++step) {
      for (const VariantProfile& entry : device.steps[step].profiles) {
        if (entry.model != profile.model || entry.variant != profile.variant) continue;
        if (Result<LatencyCurve> made = LatencyCurve::Create(entry.points)) {
          curves[step] = *std::move(made);
        }
      }
    }
    return curves;
  }

  void MakePolicy(const PolicyFactory& make_policy) {
    std::map<std::string, std::string> options;
    for (const PolicyOption& option : node_.policy.options) {
      options.emplace(option.key, option.value);
    }
    Result<std::unique_ptr<DispatchPolicy>> policy = make_policy(node_.policy.name, options);
    if (policy) {
      result_.policy = *std::move(policy);
    } else {
      faults_.Add(
          node_.policy.place.file.empty() ? Place{scenario_.file, 0, 0} : node_.policy.place,
          policy.error().message(), "");
    }
  }

  const Scenario& scenario_;
  const ScenarioNode& node_;
  Faults& faults_;
  SimulatedNode result_;
  std::vector<ProfiledService*> services_;  // by device
  std::vector<ApplicationIndex> applications_;
};

bool Runs(const Generation& generation) {
  return std::ranges::any_of(generation.variants,
                             [](const Variant& variant) { return !variant.placements.empty(); });
}

// Where an application's requests go on each node. indices: what the engines call it, by node.
std::vector<RoutedSource::Target> TargetsOf(const workload::ApplicationLoad& load,
                                            const std::vector<SimulatedNode>& nodes,
                                            const std::vector<ApplicationIndex>& indices) {
  std::vector<RoutedSource::Target> targets;
  for (std::uint32_t n = 0; n < nodes.size(); ++n) {
    const std::vector<Generation>& generations = nodes[n].config.generations;
    const auto generation = std::ranges::find(generations, load.spec.model, &Generation::model);
    RoutedSource::Target& target = targets.emplace_back();
    target.node = n;
    target.arrival.generation = static_cast<GenerationIndex>(generation - generations.begin());
    target.arrival.rows = load.rows;
    target.arrival.application = indices[n];
  }
  return targets;
}

// Those that it goes round at the start.
std::vector<RoutedSource::Target> FirstTargets(const ScenarioApplication& application,
                                               const std::vector<SimulatedNode>& nodes,
                                               const std::vector<RoutedSource::Target>& all,
                                               Faults& faults) {
  const ApplicationSpec& spec = application.load.spec;
  std::vector<RoutedSource::Target> targets;
  for (const RoutedSource::Target& target : all) {
    const SimulatedNode& node = nodes[target.node];
    const bool asked_for = std::ranges::count(application.nodes, node.name) > 0;
    if (!application.nodes.empty() && !asked_for) continue;
    if (!Runs(node.config.generations[target.arrival.generation])) {
      if (!asked_for) continue;
      faults.Add(application.place,
                 fmt::format("application '{}': model '{}' runs on no device of node '{}'",
                             spec.name, spec.model, node.name),
                 "an entry in the node's profile, for a device where the model is placed");
    }
    targets.push_back(target);
  }
  if (targets.empty()) {
    faults.Add(application.place,
               fmt::format("application '{}': model '{}' runs on no device", spec.name, spec.model),
               "an entry in the profile of a node, for a device where the model is placed");
  }
  return targets;
}

// To load it and to warm it up, one row after another.
Duration TimeToLoad(const ModelSpec& model, Duration load_time, const Generation& generation) {
  Duration takes = load_time;
  for (const Variant& variant : generation.variants) {
    for (const Placement& placement : variant.placements) {
      takes += placement.service.curve().Mean(1) * model.warmup_runs;
    }
  }
  return takes;
}

}  // namespace

std::unique_ptr<ScenarioRun> ScenarioRun::Create(const Scenario& scenario,
                                                 const PolicyFactory& make_policy,
                                                 Faults& all_faults) {
  Faults faults;
  Assembly assembly;
  // [application][node]
  std::vector<std::vector<ApplicationIndex>> indices(scenario.applications.size());
  std::vector<std::vector<Changes::Clocked>> devices;
  std::vector<std::vector<Changes::Loadable>> models;
  for (std::size_t n = 0; n < scenario.nodes.size(); ++n) {
    const ScenarioNode& node = scenario.nodes[n];
    NodeAssembly making(scenario, node, faults);
    assembly.nodes.push_back(making.Make(make_policy));
    for (std::size_t a = 0; a < indices.size(); ++a) {
      indices[a].push_back(making.applications()[a]);
    }
    std::vector<Changes::Clocked>& clocked = devices.emplace_back();
    for (DeviceIndex d = 0; d < node.devices.size(); ++d) {
      const ScenarioDevice& device = node.devices[d];
      Watched& watched = assembly.watched.emplace_back();
      watched.node = n;
      watched.device = d;
      watched.node_name = node.name;
      watched.device_name = device.name;
      Changes::Clocked& clock = clocked.emplace_back();
      clock.service = making.services()[d];
      for (const ScenarioDevice::ClockStep& step : device.steps) {
        clock.powers.push_back({device.idle_w.value_or(0), step.busy_w, step.one_row_w});
      }
      if (!device.idle_w || !device.busy_w) continue;
      watched.meter = std::make_unique<DeviceMeter>(
          DeviceMeter::Power{*device.idle_w, *device.busy_w, device.one_row_w});
      clock.meter = watched.meter.get();
    }
    std::vector<Changes::Loadable>& loadable = models.emplace_back();
    for (GenerationIndex g = 0; g < scenario.models.size(); ++g) {
      const Generation& generation = assembly.nodes.back().config.generations[g];
      loadable.push_back({{g, generation, {}},
                          TimeToLoad(scenario.models[g], scenario.load_times[g], generation)});
    }
  }
  std::vector<Changes::Moving> moving;
  for (std::uint32_t a = 0; a < scenario.applications.size(); ++a) {
    const workload::ApplicationLoad& load = scenario.applications[a].load;
    std::vector<RoutedSource::Target> targets = TargetsOf(load, assembly.nodes, indices[a]);
    SentRequest like;
    like.group = a;
    like.request_bytes = scenario.applications[a].request_bytes;
    like.response_bytes = scenario.applications[a].response_bytes;
    std::unique_ptr<RoutedSource> source =
        MakeSource(load, scenario.load_factor, scenario.seed, like,
                   FirstTargets(scenario.applications[a], assembly.nodes, targets, faults));
    moving.push_back({source.get(), targets.front().arrival.generation, std::move(targets)});
    assembly.sources.push_back(std::move(source));
    const auto model = std::ranges::find(scenario.models, load.spec.model, &ModelSpec::name);
    Tally::SourceFacts& facts = assembly.facts.emplace_back();
    facts.slo = load.spec.slo ? load.spec.slo : model->slo;
    facts.rows = load.rows;
    for (const VariantSpec& variant : model->variants) {
      facts.accuracy_pct.push_back(variant.accuracy_pct.value_or(0));
    }
  }
  for (const ScenarioEvent& event : scenario.events) {
    const GenerationIndex model = event.kind == ScenarioEvent::Kind::kMove
                                      ? moving[event.application].generation
                                      : event.model;
    if (event.kind == ScenarioEvent::Kind::kFrequency ||
        Runs(assembly.nodes[event.node].config.generations[model])) {
      continue;
    }
    faults.Add(event.place,
               fmt::format("model '{}' runs on no device of node '{}'", scenario.models[model].name,
                           assembly.nodes[event.node].name),
               "an entry in the node's profile, for a device where the model is placed");
  }
  if (!scenario.events.empty() || std::ranges::any_of(scenario.nodes, [](const ScenarioNode& node) {
        return !node.without.empty() ||
               std::ranges::any_of(node.devices, [](const ScenarioDevice& device) {
                 return device.thermal.has_value();
               });
      })) {
    assembly.changes = std::make_unique<Changes>(scenario, std::move(models), std::move(devices),
                                                 std::move(moving));
  }
  const bool good = faults.empty();
  all_faults.Append(std::move(faults));
  if (!good) return nullptr;
  return std::unique_ptr<ScenarioRun>(new ScenarioRun(scenario, std::move(assembly)));
}

ScenarioRun::ScenarioRun(const Scenario& scenario, Assembly assembly)
    : warmup_(scenario.warmup),
      end_(scenario.warmup + scenario.duration),
      tally_(std::move(assembly.facts), scenario.nodes.size(), scenario.warmup, scenario.duration),
      changes_(std::move(assembly.changes)),
      simulator_(std::move(assembly.nodes), std::move(assembly.sources), end_, tally_,
                 changes_.get()),
      watched_(std::move(assembly.watched)) {}

bool ScenarioRun::Advance(Duration until) {
  // What devices do is measured from the end of the warm-up to the last arrival.
  const auto pass = [&](Duration mark, Seen Watched::*seen) {
    if (until < mark || passed_ >= mark) return;
    passed_ = mark;
    simulator_.Advance(TimePoint(mark));
    for (Watched& watched : watched_) {
      watched.*seen = See(watched, TimePoint(mark));
      if (watched.meter != nullptr) watched.meter->Take((watched.*seen).reading);
    }
  };
  const auto pass_both = [&] {
    pass(warmup_, &Watched::before);
    pass(end_, &Watched::after);
  };
  pass_both();
  if (simulator_.Advance(TimePoint(until))) return true;
  // Nothing is left to happen: the rest of the time is idle.
  until = std::max(until, end_);
  pass_both();
  return false;
}

ScenarioRun::Seen ScenarioRun::See(const Watched& watched, TimePoint at) const {
  Seen seen;
  seen.reading = ReadDevice(simulator_, watched.node, watched.device, at);
  seen.switches = simulator_.device(watched.node, watched.device).switches();
  if (watched.meter != nullptr) seen.energy_j = watched.meter->EnergyJ(seen.reading);
  if (changes_ != nullptr) seen.thermal = changes_->thermal(watched.node, watched.device);
  return seen;
}

Duration ScenarioRun::measured() const {
  if (passed_ == end_) return end_ - warmup_;
  return std::clamp(simulator_.now() - TimePoint(), warmup_, end_) - warmup_;
}

std::uint64_t ScenarioRun::events() const {
  std::uint64_t events = 0;
  for (std::size_t n = 0; n < simulator_.node_count(); ++n) {
    events += simulator_.engine(n).stats().events;
  }
  return events;
}

std::vector<DeviceUse> ScenarioRun::devices() const {
  const double measured_s = ToSeconds(measured());
  std::vector<DeviceUse> uses;
  for (const Watched& watched : watched_) {
    DeviceUse& use = uses.emplace_back();
    use.node = watched.node_name;
    use.name = watched.device_name;
    if (measured_s == 0) continue;
    const Seen after = passed_ == end_ ? watched.after : See(watched, simulator_.now());
    const Seen& before = watched.before;
    use.utilization = (after.reading.full_work_s - before.reading.full_work_s) / measured_s;
    use.batches = after.reading.batches - before.reading.batches;
    use.rows = after.reading.rows - before.reading.rows;
    use.switches = after.switches - before.switches;
    if (watched.meter != nullptr) use.energy_j = after.energy_j - before.energy_j;
    if (!after.thermal) continue;
    use.peak_c = after.thermal->peak_c;
    use.throttled_s = ToSeconds(after.thermal->throttled - before.thermal->throttled);
  }
  return uses;
}

}  // namespace duly::sim
