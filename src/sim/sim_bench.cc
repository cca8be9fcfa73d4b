// SPDX-License-Identifier: Apache-2.0
//
// Simulated requests per second of one core: items_per_second.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>

#include "base/check.h"
#include "policy/registry.h"
#include "sim/run.h"

namespace duly::sim {
namespace {

void Simulate(benchmark::State& state, const std::string& text) {
  Faults faults;
  Scenario scenario = ParseScenario(text, "bench", faults);
  DULY_CHECK(faults.empty());
  std::int64_t requests = 0;
  for (auto _ : state) {
    ++scenario.seed;
    const auto run = ScenarioRun::Create(scenario, MakeDispatchPolicy, faults);
    run->Advance(Duration::max());
    for (const SourceTally& tally : run->tally().sources()) {
      requests += static_cast<std::int64_t>(tally.sent);
    }
  }
  state.SetItemsProcessed(requests);
}

// One device, first in first out, 70 % busy: M/D/1.
void Fifo(benchmark::State& state) {
  Simulate(state, fmt::format(R"(
duration: {}s
warmup: 0s
policy: {{name: fifo}}
models: [{{name: m}}]
nodes:
  - name: n
    devices: [{{name: d, kind: serial}}]
    profile: {{variants: [{{model: m, variant: default, device: d, points: [{{rows: 1, mean: 1ms}}]}}]}}
applications: [{{name: a, model: m, rate: 700/s}}]
)",
                              state.range(0) / 700));
}
// Requests: the cost of each must not grow.
BENCHMARK(Fifo)->Arg(100'000)->Arg(1'000'000)->Arg(10'000'000)->Unit(benchmark::kMillisecond);

// Ten models with promises on one device, 70 % busy without batching.
void EdfTenModels(benchmark::State& state) {
  std::string models;
  std::string points;
  std::string applications;
  for (int m = 0; m < 10; ++m) {
    models += fmt::format("  - {{name: m{}, max_batch_size: 8}}\n", m);
    points += fmt::format(
        "        - {{model: m{}, variant: default, device: d, points: [{{rows: 1, mean: 1ms}}, "
        "{{rows: 8, mean: 4ms}}]}}\n",
        m);
    applications +=
        fmt::format("  - {{name: a{0}, model: m{0}, rate: 70/s, slo: {1}ms}}\n", m, 20 + 10 * m);
  }
  Simulate(state, fmt::format(R"(
duration: {}s
warmup: 0s
policy: {{name: edf}}
models:
{}
nodes:
  - name: n
    devices: [{{name: d, kind: serial}}]
    profile:
      variants:
{}
applications:
{}
)",
                              state.range(0) / 700, models, points, applications));
}
BENCHMARK(EdfTenModels)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace duly::sim

BENCHMARK_MAIN();
