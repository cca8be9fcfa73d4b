// SPDX-License-Identifier: Apache-2.0
#include "sim/run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "device_model/service_noise.h"
#include "engine/application.h"

namespace duly::sim {

struct ScenarioRun::Assembly {
  std::vector<SimulatedNode> nodes;
  std::vector<std::unique_ptr<Source>> sources;
  std::vector<Tally::SourceFacts> facts;
  std::vector<Watched> watched;
};

namespace {

bool IsPlaced(const ScenarioNode& node, const std::string& model, const std::string& device) {
  const auto placement = std::ranges::find(node.placement, model, &ModelPlacement::model);
  return placement == node.placement.end() || std::ranges::count(placement->devices, device) > 0;
}

// What the profile says, and the device's noise.
class ProfiledService final : public ServiceModel {
 public:
  ProfiledService(const DeviceBehaviour& device, ServiceNoise noise, double factor,
                  Duration batch_overhead)
      : sets_(device), noise_(std::move(noise)), factor_(factor), batch_overhead_(batch_overhead) {}

  // The next generation, which runs nowhere yet.
  void AddGeneration(const ModelSpec& model) {
    std::vector<Program>& programs = programs_.emplace_back();
    for (const VariantSpec& variant : model.variants) {
      programs.push_back({{}, sets_.Of(model.name, variant.name)});
    }
  }
  // Of a variant of the last one.
  void SetCurve(std::size_t variant, LatencyCurve curve) {
    programs_.back()[variant].curve = std::move(curve);
  }

  Service Next(const StartBatch& start) override {
    const ServiceNoise::Run run = noise_.Next();
    const Program& program = programs_[start.generation][start.variant];
    const auto mean_ns = static_cast<double>(program.curve.Mean(start.rows).count());
    return {Duration(static_cast<std::int64_t>(mean_ns * factor_ * run.factor)) + batch_overhead_,
            run.fails, program.on_chip};
  }

 private:
  struct Program {
    LatencyCurve curve;  // mean service times alone on the device; empty where it is not placed
    OnChip on_chip;
  };
  OnChipSets sets_;
  ServiceNoise noise_;
  const double factor_;
  const Duration batch_overhead_;
  std::vector<std::vector<Program>> programs_;  // [generation][variant]
};

// Sends to its targets in turn.
class OpenLoopSource final : public Source {
 public:
  struct Target {
    std::uint32_t node = 0;
    Arrival arrival;
  };
  // targets: not empty.
  OpenLoopSource(const workload::ApplicationLoad& load, double load_factor, std::uint64_t seed,
                 std::uint32_t group, std::vector<Target> targets)
      : targets_(std::move(targets)),
        arrivals_(workload::MakeArrivals(load.arrivals, load.spec.rate_per_s * load_factor, seed,
                                         load.spec.name)),
        cancel_share_(load.cancel_share),
        cancel_after_(load.cancel_after),
        cancel_(seed, fmt::format("cancel/{}", load.spec.name)) {
    request_.group = group;
  }

  const SentRequest* Next() override {
    const std::optional<Duration> scheduled = arrivals_->Next();
    if (!scheduled) return nullptr;
    request_.scheduled = *scheduled;
    request_.node = targets_[next_].node;
    request_.arrival = targets_[next_].arrival;
    next_ = next_ + 1 == targets_.size() ? 0 : next_ + 1;
    const bool goes = cancel_share_ > 0 && cancel_.Uniform() < cancel_share_;
    request_.cancel_after = goes ? cancel_after_ : Duration(-1);
    return &request_;
  }

 private:
  const std::vector<Target> targets_;
  const std::unique_ptr<workload::ArrivalProcess> arrivals_;
  const double cancel_share_;
  const Duration cancel_after_;
  RandomStream cancel_;
  std::size_t next_ = 0;
  SentRequest request_;
};

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
    result_.config.max_waiting = node_.limits.queue_requests;
    for (const ScenarioDevice& device : node_.devices) {
      result_.config.devices.push_back({device.name, device.behaviour.slots});
      // A seed of its own for each node: devices of the same name differ.
      services_.push_back(std::make_unique<ProfiledService>(
          device.behaviour,
          ServiceNoise(device.behaviour, scenario_.seed, DeviceStream(device.name)),
          node_.service_factor, node_.batch_overhead));
      result_.devices.emplace_back().model = MakeDeviceModel(device.behaviour);
    }
    for (const ModelSpec& model : scenario_.models) AddModel(model);
    for (std::size_t d = 0; d < node_.devices.size(); ++d) {
      result_.devices[d].service = std::move(services_[d]);
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
      services_[d]->SetCurve(v, *curve);
      Placement& placement = variant.placements.emplace_back();
      placement.device = d;
      placement.instances = InstancesOf(model, device.behaviour.mechanism, device.behaviour.slots);
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
  std::vector<std::unique_ptr<ProfiledService>> services_;  // by device
  std::vector<ApplicationIndex> applications_;
};

bool Runs(const Generation& generation) {
  return std::ranges::any_of(generation.variants,
                             [](const Variant& variant) { return !variant.placements.empty(); });
}

// indices: what the engines call the application, by node.
std::unique_ptr<Source> MakeSource(const Scenario& scenario, std::uint32_t application_index,
                                   const std::vector<SimulatedNode>& nodes,
                                   const std::vector<ApplicationIndex>& indices, Faults& faults) {
  const ScenarioApplication& application = scenario.applications[application_index];
  const workload::ApplicationLoad& load = application.load;
  std::vector<OpenLoopSource::Target> targets;
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
    OpenLoopSource::Target& target = targets.emplace_back();
    target.node = n;
    target.arrival.generation =
        static_cast<GenerationIndex>(generation - config.generations.begin());
    target.arrival.rows = load.rows;
    target.arrival.application = indices[n];
  }
  if (targets.empty()) {
    faults.Add(application.place,
               fmt::format("application '{}': model '{}' runs on no device", load.spec.name,
                           load.spec.model),
               "an entry in the profile of a node, for a device where the model is placed");
  }
  return std::make_unique<OpenLoopSource>(load, scenario.load_factor, scenario.seed,
                                          application_index, std::move(targets));
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
  for (std::uint32_t a = 0; a < scenario.applications.size(); ++a) {
    const workload::ApplicationLoad& load = scenario.applications[a].load;
    assembly.sources.push_back(MakeSource(scenario, a, assembly.nodes, indices[a], faults));
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
      tally_(std::move(assembly.facts), scenario.nodes.size(), scenario.warmup, scenario.duration),
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
