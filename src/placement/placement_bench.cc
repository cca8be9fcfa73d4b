// SPDX-License-Identifier: Apache-2.0
//
// What placement costs: 10 000 applications on 1000 nodes (bound: 1 s of one core), one application
// more on a full cluster of that size (1 ms), one application on one device.
#include <benchmark/benchmark.h>

#include "placement/cluster_test_util.h"
#include "placement/incremental.h"

namespace duly::placement {
namespace {

const Cluster& Large() {
  static const Cluster cluster = SmallCluster(500, 500);
  return cluster;
}
const std::vector<Application>& Many() {
  static const std::vector<Application> applications = SomeApplications(10'001, 1);
  return applications;
}

void Place(benchmark::State& state) {
  const Algorithm algorithm = FindAlgorithm("duly").value();
  int hosted = 0;
  for (auto _ : state) {
    Placement placement(Large(), std::span(Many()).first(10'000), {});
    algorithm.place(placement, {});
    hosted = placement.hosted();
  }
  state.counters["hosted"] = hosted;
}
BENCHMARK(Place)->Unit(benchmark::kMillisecond);

void AdmitOneMore(benchmark::State& state) {
  Placement placement(Large(), Many(), {});
  for (int a = 0; a < 10'000; ++a) placement.TryAdd(a, a % 1000);
  int admitted = 0;
  for (auto _ : state) {
    const bool done = Admit(placement, 10'000, 0).done;
    if (done) placement.Remove(10'000);
    admitted += done ? 1 : 0;
  }
  state.counters["hosted"] = placement.hosted();
  state.counters["admitted"] =
      static_cast<double>(admitted) / static_cast<double>(state.iterations());
}
BENCHMARK(AdmitOneMore)->Unit(benchmark::kMicrosecond);

// range: 0 the TPU, 1 the GPU; on it stand nine others.
void CheckOne(benchmark::State& state) {
  const Cluster cluster = SmallCluster(1, 1, 100'000 * kMiB);
  std::vector<Application> applications;
  for (int i = 0; i < 10; ++i) applications.push_back({"a", i % 2, 1, {1}, 0, i >= 6});
  Placement placement(cluster, applications, {});
  const int device = static_cast<int>(state.range(0));
  for (int a = 0; a < 9; ++a) placement.Add(a, device);
  for (auto _ : state) benchmark::DoNotOptimize(placement.Check(9, device).value);
}
BENCHMARK(CheckOne)->Arg(0)->Arg(1);

}  // namespace
}  // namespace duly::placement

BENCHMARK_MAIN();
