// SPDX-License-Identifier: Apache-2.0
#include "sim/run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "engine/application.h"

namespace duly::sim {

struct ScenarioRun::Assembly {
  std::vector<SimulatedNode> nodes;
  std::vector<Source> sources;
  std::vector<Tally::SourceFacts> facts;
  std::vector<Watched> watched;
};

namespace {

bool IsPlaced(const ScenarioNode& node, const std::string& model, const std::string& device) {
  const auto placement = std::ranges::find(node.placement, model, &ModelPlacement::model);
  return placement == node.placement.end() || std::ranges::count(placement->devices, device) > 0;
}

std::uint32_t InstancesOf(const ModelSpec& model, const ScenarioDevice& device) {
  if (model.instances != 0) return std::min(model.instances, device.slots);
  // Time slices go round the models, each of which runs one batch at a time.
  return device.kind == ScenarioDevice::Kind::kTimeslice ? 1 : device.slots;
}

std::unique_ptr<DeviceModel> MakeModel(const ScenarioDevice& device,
                                       const std::vector<const ModelSpec*>& by_program) {
  using Kind = ScenarioDevice::Kind;
  switch (device.kind) {
    case Kind::kSerial:
    case Kind::kTimeslice:
      return MakeSharedDevice({1});
    case Kind::kConcurrent:
      return MakeSharedDevice(device.speed);
    case Kind::kCpu:
      return MakeSharedDevice(CoreSpeed(device.cores, device.threads, device.slots));
    case Kind::kEdgeTpu:
      break;
  }
  SwitchingDevice switching;
  for (std::uint32_t program = 0; program < by_program.size(); ++program) {
    const std::string& name = by_program[program]->name;
    const auto swap = device.swap.find(name);
    switching.load.push_back(swap == device.swap.end() ? Duration(0) : swap->second);
    std::uint32_t set = static_cast<std::uint32_t>(device.co_resident.size()) + program;
    for (std::uint32_t s = 0; s < device.co_resident.size(); ++s) {
      if (std::ranges::count(device.co_resident[s], name) > 0) set = s;
    }
    switching.set.push_back(set);
  }
  return MakeSwitchingDevice(std::move(switching));
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
    result_.service_factor = node_.service_factor;
    result_.batch_overhead = node_.batch_overhead;
    result_.to_node = node_.to_node;
    result_.from_node = node_.from_node;
    result_.config.max_waiting = node_.limits.queue_requests;
    for (const ScenarioDevice& device : node_.devices) {
      result_.config.devices.push_back({device.name, device.slots});
      // A seed of its own for each node: devices of the same name differ.
      result_.devices.push_back(
          {nullptr,
           ServiceNoise(device.noise, device.fail_every, scenario_.seed, DeviceStream(device.name)),
           {},
           {}});
    }
    for (const ModelSpec& model : scenario_.models) AddModel(model);
    for (std::size_t d = 0; d < node_.devices.size(); ++d) {
      result_.devices[d].model = MakeModel(node_.devices[d], by_program_);
    }
    MakePolicy(make_policy);
    return std::move(result_);
  }

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
    const auto index = static_cast<GenerationIndex>(config.generations.size());
    Generation generation;
    generation.model = model.name;
    generation.max_rows = model.max_rows;
    generation.default_variant = static_cast<std::uint32_t>(model.default_variant);
    generation.batching = model.dynamic_batching;
    generation.slo = model.slo;
    generation.timeout = model.timeout;
    const auto first_program = static_cast<std::uint32_t>(by_program_.size());
    for (SimulatedDevice& device : result_.devices) {
      device.service.emplace_back(model.variants.size());
      device.first_program.push_back(first_program);
    }
    for (std::uint32_t v = 0; v < model.variants.size(); ++v) {
      by_program_.push_back(&model);
      generation.variants.push_back(MakeVariant(model, v, index));
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

  Variant MakeVariant(const ModelSpec& model, std::uint32_t v, GenerationIndex generation) {
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
      result_.devices[d].service[generation][v] = *curve;
      Placement& placement = variant.placements.emplace_back();
      placement.device = d;
      placement.instances = InstancesOf(model, device);
      placement.service = ServicePrediction(*std::move(curve));
    }
    return variant;
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
  std::vector<const ModelSpec*> by_program_;
  std::vector<ApplicationIndex> applications_;
};

bool Runs(const Generation& generation) {
  return std::ranges::any_of(generation.variants,
                             [](const Variant& variant) { return !variant.placements.empty(); });
}

// indices: what the engines call the application, by node.
Source MakeSource(const Scenario& scenario, const ScenarioApplication& application,
                  const std::vector<SimulatedNode>& nodes,
                  const std::vector<ApplicationIndex>& indices, Faults& faults) {
  const workload::ApplicationLoad& load = application.load;
  Source source{{},
                workload::MakeArrivals(load.arrivals, load.spec.rate_per_s * scenario.load_factor,
                                       scenario.seed, load.spec.name),
                load.cancel_share,
                load.cancel_after,
                RandomStream(scenario.seed, fmt::format("cancel/{}", load.spec.name))};
  for (std::uint32_t n = 0; n < nodes.size(); ++n) {
    const bool asked_for = std::ranges::count(application.nodes, nodes[n].name) > 0;
    if (!application.nodes.empty() && !asked_for) continue;
    const EngineConfig& config = nodes[n].config;
    const auto generation =
        std::ranges::find(config.generations, load.spec.model, &Generation::model);
    if (!Runs(*generation)) {
      if (!asked_for) continue;
      faults.Add(application.place,
                 fmt::format("application '{}': model '{}' runs on no device of node '{}'",
                             load.spec.name, load.spec.model, nodes[n].name),
                 "an entry in the node's profile, for a device where the model is placed");
    }
    Source::Target& target = source.targets.emplace_back();
    target.node = n;
    target.arrival.generation =
        static_cast<GenerationIndex>(generation - config.generations.begin());
    target.arrival.rows = load.rows;
    target.arrival.application = indices[n];
  }
  if (source.targets.empty()) {
    faults.Add(application.place,
               fmt::format("application '{}': model '{}' runs on no device", load.spec.name,
                           load.spec.model),
               "an entry in the profile of a node, for a device where the model is placed");
  }
  return source;
}

}  // namespace

std::unique_ptr<ScenarioRun> ScenarioRun::Create(const Scenario& scenario,
                                                 const PolicyFactory& make_policy,
                                                 Faults& all_faults) {
  Faults faults;
  Assembly assembly;
  // [application][node]
  std::vector<std::vector<ApplicationIndex>> indices(scenario.applications.size());
  for (std::size_t n = 0; n < scenario.nodes.size(); ++n) {
    const ScenarioNode& node = scenario.nodes[n];
    NodeAssembly making(scenario, node, faults);
    assembly.nodes.push_back(making.Make(make_policy));
    for (std::size_t a = 0; a < indices.size(); ++a) {
      indices[a].push_back(making.applications()[a]);
    }
    for (DeviceIndex d = 0; d < node.devices.size(); ++d) {
      assembly.watched.push_back({n, d, node.name, node.devices[d], {}, {}});
    }
  }
  for (std::size_t a = 0; a < scenario.applications.size(); ++a) {
    const ScenarioApplication& application = scenario.applications[a];
    const workload::ApplicationLoad& load = application.load;
    assembly.sources.push_back(
        MakeSource(scenario, application, assembly.nodes, indices[a], faults));
    const auto model = std::ranges::find(scenario.models, load.spec.model, &ModelSpec::name);
    Tally::SourceFacts& facts = assembly.facts.emplace_back();
    facts.slo = load.spec.slo ? load.spec.slo : model->slo;
    facts.rows = load.rows;
    for (const VariantSpec& variant : model->variants) {
      facts.accuracy_pct.push_back(variant.accuracy_pct.value_or(0));
    }
  }
  const bool good = faults.empty();
  all_faults.Append(std::move(faults));
  if (!good) return nullptr;
  return std::unique_ptr<ScenarioRun>(new ScenarioRun(scenario, std::move(assembly)));
}

ScenarioRun::ScenarioRun(const Scenario& scenario, Assembly assembly)
    : warmup_(scenario.warmup),
      end_(scenario.warmup + scenario.duration),
      tally_(std::move(assembly.facts), scenario.nodes.size(), scenario.warmup),
      simulator_(std::move(assembly.nodes), std::move(assembly.sources), end_, tally_),
      watched_(std::move(assembly.watched)) {}

bool ScenarioRun::Advance(Duration until) {
  // What devices do is measured from the end of the warm-up to the last arrival.
  const auto pass = [&](Duration mark, Seen Watched::*seen) {
    if (until < mark || passed_ >= mark) return;
    passed_ = mark;
    simulator_.Advance(TimePoint(mark));
    for (Watched& watched : watched_) {
      watched.*seen = See(watched, TimePoint(mark));
    }
  };
  pass(warmup_, &Watched::before);
  pass(end_, &Watched::after);
  return simulator_.Advance(TimePoint(until));
}

ScenarioRun::Seen ScenarioRun::See(const Watched& watched, TimePoint at) const {
  const DeviceStats& stats = simulator_.engine(watched.node).stats().devices[watched.device];
  const DeviceModel& device = simulator_.device(watched.node, watched.device);
  return {device.FullWorkSeconds(at), stats.batches, stats.rows, device.switches()};
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
    use.name = watched.spec.name;
    if (measured_s == 0) continue;
    const Seen after = passed_ == end_ ? watched.after : See(watched, simulator_.now());
    use.utilization = (after.full_work_s - watched.before.full_work_s) / measured_s;
    use.batches = after.batches - watched.before.batches;
    use.rows = after.rows - watched.before.rows;
    use.switches = after.switches - watched.before.switches;
    if (watched.spec.idle_w && watched.spec.busy_w) {
      const double batches_a_row =
          use.rows == 0 ? 0 : static_cast<double>(use.batches) / static_cast<double>(use.rows);
      const double busy_w = *watched.spec.busy_w - watched.spec.one_row_w * batches_a_row;
      use.energy_j =
          measured_s * (*watched.spec.idle_w + use.utilization * (busy_w - *watched.spec.idle_w));
    }
  }
  return uses;
}

}  // namespace duly::sim
