// SPDX-License-Identifier: Apache-2.0
//
// The placement study: how many applications each algorithm hosts on clusters that are too small
// for all, and of how many the 95th percentile keeps the SLO, by simulation (src/sim, fifo), as the
// formulas assume the world to be and as it is not: half of the applications in bursts, noisy
// services, every rate up to 10 % off. docs/benchmarks.md has the figures and what is assumed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "placement/algorithms.h"
#include "policy/registry.h"
#include "sim/run.h"

namespace duly {
namespace {

using placement::Application;
using placement::Cluster;
using placement::ModelOnDevice;
using placement::Placement;
using queueing::Mechanism;

Duration Seconds(double seconds) {
  return Duration(static_cast<std::int64_t>(seconds * 1e9 + 0.5));
}

constexpr std::uint64_t kMB = 1'000'000;
constexpr double kOverhead = 0.010;
// The profile's spread of services: GPUs 5 %, the Edge TPU's are nearly constant.
constexpr double kGpuCv = 0.05;
constexpr int kNano = 0;
constexpr int kTpu = 1;

struct KnownModel {
  const char* name;
  double slo_s;
  double nano_ms;
  std::uint64_t nano_mb;
  double tpu_ms;  // 0: does not run there
  double swap_ms;
};
// Ibis's artifact: SLO classes, inception_v3, mobilenet_v2, resnet50. torch2trt: densenet121,
// vgg16. Catalogue: efficientnet_b0. Assumed: efficientnet_b1, densenet201 and vgg19 by their
// operations, memory where it is not published, EfficientNet-EdgeTPU S and M in place of b0 and b1.
constexpr KnownModel kModels[] = {{"mobilenet_v2", 0.2, 13.02, 1130, 4.91, 10.43},
                                  {"densenet121", 0.2, 24.8, 800, 0, 0},
                                  {"efficientnet_b0", 0.2, 21.35, 800, 9.83, 17.33},
                                  {"efficientnet_b1", 0.4, 32.0, 850, 15.85, 22.63},
                                  {"densenet201", 0.4, 37.0, 850, 0, 0},
                                  {"resnet50", 0.4, 29.41, 965, 0, 0},
                                  {"vgg16", 0.6, 85.1, 965, 0, 0},
                                  {"vgg19", 0.6, 107.0, 965, 0, 0},
                                  {"inception_v3", 0.6, 30.58, 936, 62.95, 19.39}};

// Two Nanos for each Edge TPU, nearly.
Cluster MakeCluster(int nodes) {
  Cluster cluster;
  cluster.types = {{"nano", {Mechanism::kSliced}}, {"tpu", {Mechanism::kSwapping}}};
  for (const KnownModel& known : kModels) {
    placement::Model model{known.name, {std::nullopt, std::nullopt}};
    model.on[kNano] = ModelOnDevice{.service = {known.nano_ms * 1e-3, kGpuCv * kGpuCv},
                                    .memory_bytes = known.nano_mb * kMB};
    if (known.tpu_ms > 0) {
      model.on[kTpu] = ModelOnDevice{.service = {known.tpu_ms * 1e-3, 0},
                                     .swap_s = known.swap_ms * 1e-3,
                                     .memory_bytes = 100 * kMB};
    }
    cluster.models.push_back(std::move(model));
  }
  for (int n = 0; n < nodes; ++n) {
    const int type = n % 5 < 3 ? kNano : kTpu;
    cluster.nodes.push_back({fmt::format("node-{}", n),
                             4096 * kMB,
                             kOverhead,
                             {{cluster.types[static_cast<std::size_t>(type)].name, type}}});
  }
  return cluster;
}

// Rates of 1 to 10 a second; half of them bring weights of their own.
std::vector<Application> MakeApplications(int count, std::uint64_t seed) {
  RandomStream stream(seed, "study/applications");
  std::vector<Application> applications;
  for (int i = 0; i < count; ++i) {
    const auto model = static_cast<int>(stream.Below(std::size(kModels)));
    const double rate = 1 + 9 * stream.Uniform();
    const bool own = stream.Below(2) == 0;
    applications.push_back(
        {fmt::format("app-{}", i), model, rate, {kModels[model].slo_s, 0.95}, 50 * kMB, own});
  }
  return applications;
}

enum class World { kAsAssumed, kHarsher };

// The applications on a device whose simulated p95 keeps the SLO. Refused requests count as late.
int MeetTheirSlo(const Placement& placement, int device, World world, std::uint64_t seed,
                 Duration duration) {
  if (placement.on(device).empty()) return 0;
  const Placement::Site& site = placement.site(device);
  const bool is_tpu = site.type == kTpu;
  sim::Scenario scenario;
  scenario.file = "study";
  scenario.duration = duration;
  scenario.warmup = std::chrono::seconds(10);
  scenario.seed = seed;
  sim::ScenarioNode node;
  node.name = "node";
  node.policy.name = "fifo";
  node.limits.queue_requests = 20'000;
  node.to_node = {.latency = Seconds(kOverhead / 2)};
  node.from_node = {.latency = Seconds(kOverhead / 2)};
  sim::ScenarioDevice spec;
  spec.name = "device";
  spec.behaviour.mechanism = is_tpu ? DeviceMechanism::kEdgeTpu : DeviceMechanism::kTimeslice;
  const double cv = (is_tpu ? 0 : kGpuCv) + (world == World::kHarsher ? 0.15 : 0);
  if (cv > 0) spec.behaviour.noise = {NoiseSpec::Kind::kLognormal, cv};
  std::map<std::string, bool> known;
  RandomStream off(seed, fmt::format("study/off/{}", device));
  for (const int a : placement.on(device)) {
    const Application& application = placement.applications()[static_cast<std::size_t>(a)];
    const KnownModel& model = kModels[application.model];
    const std::string name = application.own_weights ? application.name : std::string(model.name);
    if (known.emplace(name, true).second) {
      ModelSpec& served = scenario.models.emplace_back();
      served.name = name;
      served.instances = 1;
      served.variants.emplace_back().name = "default";
      scenario.model_places.emplace_back();
      scenario.load_times.emplace_back();
      ProfilePoint point;
      point.mean = Seconds((is_tpu ? model.tpu_ms : model.nano_ms) * 1e-3);
      point.p95 = point.p99 = point.mean;
      point.runs = 1;
      VariantProfile profile;
      profile.model = name;
      profile.variant = "default";
      profile.device = spec.name;
      profile.points = {point};
      node.profile.variants.push_back(std::move(profile));
      if (is_tpu) spec.behaviour.swap.emplace(name, Seconds(model.swap_ms * 1e-3));
    }
    sim::ScenarioApplication& sends = scenario.applications.emplace_back();
    sends.load.spec.name = application.name;
    sends.load.spec.model = name;
    const double factor = 0.9 + 0.2 * off.Uniform();
    const bool bursts = off.Below(2) == 0;
    sends.load.spec.rate_per_s = application.rate_per_s * (world == World::kHarsher ? factor : 1);
    if (world == World::kHarsher && bursts) {
      // A third quicker than the mean for six seconds of eight.
      sends.load.arrivals.kind = workload::ArrivalSpec::Kind::kOnOff;
      sends.load.arrivals.on = std::chrono::seconds(6);
      sends.load.arrivals.off = std::chrono::seconds(2);
    }
  }
  spec.behaviour.slots = static_cast<std::uint32_t>(is_tpu ? 1 : scenario.models.size());
  node.devices = {spec};
  scenario.nodes = {std::move(node)};
  Faults faults;
  const auto run = sim::ScenarioRun::Create(scenario, MakeDispatchPolicy, faults);
  if (run == nullptr) {
    fmt::print(stderr, "{}\n", faults.ToString());
    std::exit(1);
  }
  run->Advance(Duration::max());
  int met = 0;
  for (std::size_t i = 0; i < scenario.applications.size(); ++i) {
    const sim::SourceTally& tally = run->tally().sources()[i];
    const Application& application =
        placement.applications()[static_cast<std::size_t>(placement.on(device)[i])];
    if (tally.sent == 0) continue;
    const double needed = 0.95 * static_cast<double>(tally.sent);
    const auto answered = static_cast<double>(tally.latency.count());
    if (answered < needed) continue;
    met +=
        ToSeconds(tally.latency.Percentile(needed / answered)) <= application.slo.bound_s ? 1 : 0;
  }
  return met;
}

struct Row {
  std::string title;
  std::string algorithm;
  double headroom = 1;
  double utilization = 0.8;
};
struct Sums {
  int hosted = 0;
  int as_assumed = 0;
  int harsher = 0;
  int proven = 0;
  double seconds = 0;
};

int CountMet(const Placement& placement, World world, std::uint64_t seed, Duration duration) {
  int met = 0;
  for (int d = 0; d < placement.devices(); ++d) {
    met += MeetTheirSlo(placement, d, world, seed, duration);
  }
  return met;
}

int Study(const std::vector<int>& sizes, int seeds, int per_node, double seconds, bool with_bound) {
  std::vector<Row> rows{{"duly", "duly"},
                        {"duly, headroom 1.1", "duly", 1.1},
                        {"duly, headroom 1.2", "duly", 1.2},
                        {"duly, headroom 1.1, utilization 0.9", "duly", 1.1, 0.9},
                        {"ibis-breadth", "ibis-breadth"},
                        {"ibis-breadth, headroom 1.1", "ibis-breadth", 1.1},
                        {"ibis-depth", "ibis-depth"},
                        {"memory-first", "memory-first"},
                        {"memory-best", "memory-best"},
                        {"memory-worst", "memory-worst"},
                        {"memory-knapsack", "memory-knapsack"},
                        {"utilization-knapsack", "utilization-knapsack"}};
  if (with_bound) rows.push_back({"branch-and-bound", "branch-and-bound"});
  const Duration duration = Seconds(seconds);
  for (const int nodes : sizes) {
    const Cluster cluster = MakeCluster(nodes);
    std::vector<Sums> sums(rows.size());
    for (int seed = 1; seed <= seeds; ++seed) {
      const auto stream = static_cast<std::uint64_t>(seed);
      const std::vector<Application> applications = MakeApplications(per_node * nodes, stream);
      for (std::size_t r = 0; r < rows.size(); ++r) {
        const placement::Algorithm algorithm = placement::FindAlgorithm(rows[r].algorithm).value();
        Placement placement(cluster, applications,
                            {algorithm.latency, {0.8, rows[r].utilization, rows[r].headroom}});
        placement::Effort effort;
        if (rows[r].algorithm == "branch-and-bound") effort.tries = 20'000'000;
        const std::clock_t start = std::clock();
        const placement::Optimality optimality = algorithm.place(placement, effort);
        sums[r].seconds += static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
        sums[r].proven += optimality == placement::Optimality::kProven ? 1 : 0;
        sums[r].hosted += placement.hosted();
        sums[r].as_assumed += CountMet(placement, World::kAsAssumed, stream, duration);
        sums[r].harsher += CountMet(placement, World::kHarsher, stream, duration);
      }
    }
    fmt::print("\n{} nodes, {} applications, {} seeds of {:g} s\n\n", nodes, per_node * nodes,
               seeds, seconds);
    fmt::print("| algorithm | hosted | p95 kept | harsher | placing, CPU s |\n");
    fmt::print("| --- | --- | --- | --- | --- |\n");
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto mean = [&](int sum) { return static_cast<double>(sum) / seeds; };
      fmt::print("| {}{} | {:.1f} | {:.1f} | {:.1f} | {:.3f} |\n", rows[r].title,
                 rows[r].algorithm == "branch-and-bound"
                     ? fmt::format(" (proven in {} of {})", sums[r].proven, seeds)
                     : "",
                 mean(sums[r].hosted), mean(sums[r].as_assumed), mean(sums[r].harsher),
                 sums[r].seconds / seeds);
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) {
  CLI::App parser(
      "How many applications each placement algorithm hosts, and how many keep their SLO");
  std::vector<int> sizes{5, 10, 20, 50, 100};
  int seeds = 10;
  int per_node = 8;
  double seconds = 300;
  bool with_bound = false;
  parser.add_option("--nodes", sizes, "Sizes of clusters")->delimiter(',');
  parser.add_option("--seeds", seeds, "Sets of applications for each size");
  parser.add_option("--per-node", per_node, "Applications for each node");
  parser.add_option("--seconds", seconds, "Simulated time");
  parser.add_flag("--branch-and-bound", with_bound, "Also what is possible; for tens of them");
  CLI11_PARSE(parser, argc, argv);
  return duly::Study(sizes, seeds, per_node, seconds, with_bound);
}
