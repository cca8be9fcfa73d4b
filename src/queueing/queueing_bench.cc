// SPDX-License-Identifier: Apache-2.0
//
// What a prediction costs: placement asks for thousands of means, admission for a few percentiles.
// Bounds: a mean 1 us, a cheap percentile 2 us, an exact one 1 ms. docs/benchmarks.md says how to
// run it and what was measured.
#include <benchmark/benchmark.h>

#include "queueing/edge_tpu.h"
#include "queueing/estimate.h"
#include "queueing/fcfs.h"
#include "queueing/shared_response.h"
#include "queueing/sharing.h"
#include "queueing/sliced_response.h"
#include "queueing/workload.h"

namespace duly::queueing {
namespace {

// The four models of a Jetson Nano at 10/s each (utilization 0.74).
const std::vector<ClassLoad>& Nano() {
  static const std::vector<ClassLoad> classes{
      {10, {1 / 92.3, 0}}, {10, {1.0 / 72, 0}}, {10, {1 / 51.2, 0}}, {10, {1.0 / 34, 0}}};
  return classes;
}

// Two models of an Edge TPU (utilization 0.66), as many times as asked for.
std::vector<SwappedClass> EdgeTpu(std::size_t classes) {
  std::vector<SwappedClass> swapped;
  const double scale = 2 / static_cast<double>(classes);
  for (std::size_t i = 0; i < classes; ++i) {
    swapped.push_back(i % 2 == 0 ? SwappedClass{6.07 * scale, {0.06295, 0}, 0.01939}
                                 : SwappedClass{7.149 * scale, {0.01923, 0.1}, 0.02463});
  }
  return swapped;
}

void MeanFcfs(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(FcfsSingleServer(Nano())->mean_s);
}
BENCHMARK(MeanFcfs);

void MeanServers(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(FcfsServers({150, {0.02, 0.5}}, 4)->mean_s);
}
BENCHMARK(MeanServers);

void MeanEdgeTpuPublished(benchmark::State& state) {
  const std::vector<SwappedClass> classes = EdgeTpu(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    const double wait = WaitWithSwaps(classes, SecondMomentForm::kPublished)->wait_s;
    benchmark::DoNotOptimize(wait + EffectiveService(classes, 0));
  }
}
BENCHMARK(MeanEdgeTpuPublished)->Arg(2)->Arg(4);

// By pairs of classes: all classes' means at once.
void MeanEdgeTpuPairs(benchmark::State& state) {
  const PairedServices pairs = ToPairs(EdgeTpu(static_cast<std::size_t>(state.range(0))));
  for (auto _ : state) benchmark::DoNotOptimize(PairedQueue::Create(pairs)->MeanResponse(0));
}
BENCHMARK(MeanEdgeTpuPairs)->Arg(2)->Arg(4)->Arg(8);

void MeanShared(benchmark::State& state) {
  const double speedup[] = {1, 1.4, 1.6, 1.7};
  for (auto _ : state) benchmark::DoNotOptimize(SharedServer(Nano(), speedup)->stretch);
}
BENCHMARK(MeanShared);

// All classes' means at once.
void MeanSliced(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(SlicedQueues(Nano())->front().mean_s);
}
BENCHMARK(MeanSliced);

void CheapPercentile(benchmark::State& state) {
  for (auto _ : state) {
    const ExponentialWait wait = ToExponential(FcfsSingleServer(Nano()).value());
    benchmark::DoNotOptimize(ResponseQuantile(wait, Nano()[0].service, 0.99));
  }
}
BENCHMARK(CheapPercentile);

void ExactPercentileFcfs(benchmark::State& state) {
  const double utilization = static_cast<double>(state.range(0)) / 100;
  std::vector<ClassLoad> classes = Nano();
  const double now = FcfsSingleServer(classes)->utilization;
  for (ClassLoad& load : classes) load.rate_per_s *= utilization / now;
  const ResponsePart response[] = {{.service = classes[0].service}};
  for (auto _ : state) {
    const Workload work = FcfsWorkload(classes).value();
    benchmark::DoNotOptimize(WaitDistribution::Create(work, 0.99)->Quantile(response, 0.99));
  }
}
BENCHMARK(ExactPercentileFcfs)->Arg(30)->Arg(70)->Arg(90);

void ExactPercentileEdgeTpu(benchmark::State& state) {
  const PairedServices pairs = ToPairs(EdgeTpu(static_cast<std::size_t>(state.range(0))));
  for (auto _ : state) {
    const PairedQueue queue = PairedQueue::Create(pairs).value();
    benchmark::DoNotOptimize(
        WaitDistribution::Create(queue.workload(), 0.99)->Quantile(queue.Response(0), 0.99));
  }
}
BENCHMARK(ExactPercentileEdgeTpu)->Arg(2)->Arg(4)->Arg(8);

// Time slices; as many models, no two alike, utilization 0.74.
void PercentileSliced(benchmark::State& state) {
  std::vector<ClassLoad> classes;
  const auto count = static_cast<std::size_t>(state.range(0));
  for (std::size_t i = 0; i < count; ++i) {
    classes.push_back(Nano()[i % 4]);
    classes.back().service.mean_s *= 1 + 0.01 * static_cast<double>(i);
  }
  double now = 0;
  for (const ClassLoad& load : classes) now += load.rate_per_s * load.service.mean_s;
  for (ClassLoad& load : classes) load.rate_per_s *= 0.74 / now;
  for (auto _ : state) {
    const std::vector<SlicedQueue> queues = SlicedQueues(classes).value();
    benchmark::DoNotOptimize(SlicedResponse(classes, {}, queues, 0).Quantile(0.99));
  }
}
BENCHMARK(PercentileSliced)->Arg(2)->Arg(4)->Arg(8);

// All at once; a constant or a random service of its own, one speed or a speedup.
void PercentileShared(benchmark::State& state) {
  std::vector<ClassLoad> classes = Nano();
  if (state.range(0) > 0) {
    for (ClassLoad& load : classes) load.service.cv2 = 1;
  }
  std::vector<double> speedup{1};
  if (state.range(1) > 0) speedup = {1, 1.5, 1.8};
  for (ClassLoad& load : classes) load.rate_per_s *= speedup.back();
  for (auto _ : state) {
    const Sharing sharing = SharedServer(classes, speedup).value();
    benchmark::DoNotOptimize(SharedResponse(classes, speedup, sharing, 0, 0.99).Quantile(0.99));
  }
}
BENCHMARK(PercentileShared)->ArgNames({"random", "speedup"})->ArgsProduct({{0, 1}, {0, 1}});

// What placement asks: the 95th percentile of every class of a mix, in closed form.
void EstimateAllClasses(benchmark::State& state) {
  const bool swaps = state.range(0) == 0;
  std::vector<ServedClass> classes;
  for (const SwappedClass& c : EdgeTpu(4)) {
    classes.push_back({.rate_per_s = c.rate_per_s, .service = c.service, .swap_s = c.swap_s});
  }
  const Device device{swaps ? Mechanism::kSwapping : Mechanism::kSliced};
  Estimate estimate(Estimate::Form::kOwn);
  for (auto _ : state) {
    estimate.Update(device, classes);
    for (std::size_t i = 0; i < 4; ++i) benchmark::DoNotOptimize(estimate.Quantile(i, 0.95));
  }
}
BENCHMARK(EstimateAllClasses)->Arg(0)->Arg(1);

}  // namespace
}  // namespace duly::queueing

BENCHMARK_MAIN();
