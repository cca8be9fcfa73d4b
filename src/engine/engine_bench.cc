// SPDX-License-Identifier: Apache-2.0
//
// What the scheduler costs: the decision for a device that has come free, the admission of a
// request behind others, and the engine's whole turn (a batch ends, the next one starts, as many
// requests arrive). docs/benchmarks.md says how to run it and what was measured.
#include <benchmark/benchmark.h>

#include "base/check.h"
#include "engine/engine_test_util.h"
#include "policy/registry.h"

namespace duly {
namespace {

// Keeps the view that the engine shows, and leaves the device idle while asked to, so that a
// benchmark can ask the same question again and again.
class Tap final : public DispatchPolicy {
 public:
  explicit Tap(std::unique_ptr<DispatchPolicy> policy) : policy_(std::move(policy)) {}
  QueueOrdering ordering() const override { return policy_->ordering(); }
  Duration best_effort_target() const override { return policy_->best_effort_target(); }
  Admission Admit(const View& view, const Request& candidate, GenerationIndex generation,
                  VariantMask allowed, Victims& victims) override {
    return policy_->Admit(view, candidate, generation, allowed, victims);
  }
  Dispatch Next(const View& view, DeviceIndex device) override {
    if (!hold) return policy_->Next(view, device);
    held_view_ = view;
    Dispatch idle;
    idle.ask_again = view.now + Duration(1);
    return idle;
  }
  Dispatch Ask(DeviceIndex device) { return policy_->Next(held_view_, device); }

  bool hold = false;

 private:
  std::unique_ptr<DispatchPolicy> policy_;
  View held_view_;
};

// One slot that runs a batch, and behind it `waiting` requests spread over `queues` models. All of
// them can be on time. A batch of 32 rows takes six times as long as one row.
class Node {
 public:
  Node(const char* policy, std::int64_t queues, std::int64_t waiting) {
    NodeBuilder node({1});
    node.config().max_waiting = static_cast<std::uint32_t>(waiting) + 64;
    for (std::int64_t q = 0; q < queues; ++q) {
      const GenerationIndex g =
          node.Model("m" + std::to_string(q), {{1, .01}, {8, .02}, {32, .06}}, 32);
      node[g].batching = DynamicBatching();
    }
    auto tap = std::make_unique<Tap>(MakeDispatchPolicy(policy, {}).value());
    tap_ = tap.get();
    engine_ = std::make_unique<Engine>(node.config(), std::move(tap));
    for (std::int64_t i = 0; i <= waiting; ++i) {
      Arrive(static_cast<GenerationIndex>(i % queues));
    }
    DULY_CHECK(engine_->live_requests() == static_cast<std::size_t>(waiting) + 1);
  }

  void Arrive(GenerationIndex generation) {
    Event event;
    event.kind = Event::Kind::kArrival;
    event.arrival.generation = generation;
    event.arrival.slo = std::chrono::seconds(2);
    Handle(event);
  }
  void CancelArrived() {
    Event event;
    event.kind = Event::Kind::kCancel;
    event.request = effects_.arrived;
    Handle(event);
    DULY_CHECK(effects_.finishes.size() == 1);
  }
  // The running batch ends after 10 us; returns how many requests started.
  std::size_t EndBatch() {
    now_ += std::chrono::microseconds(10);
    Event event;
    event.kind = Event::Kind::kBatchDone;
    event.done.batch = 0;
    Handle(event);
    return effects_.members.size();
  }
  // The decision is then asked for with Ask().
  void FreeTheDevice() {
    tap_->hold = true;
    EndBatch();
  }
  Dispatch Ask() { return tap_->Ask(0); }

 private:
  void Handle(const Event& event) {
    effects_.Clear();
    engine_->Handle(now_, event, effects_);
  }

  TimePoint now_ = At(std::chrono::seconds(1));
  Tap* tap_ = nullptr;
  std::unique_ptr<Engine> engine_;
  Effects effects_;
};

// Aim for edf: at most 1 us with 10 queues, 3 us with 1000.
void Decision(benchmark::State& state, const char* policy) {
  Node node(policy, state.range(0), state.range(1));
  node.FreeTheDevice();
  DULY_CHECK(node.Ask().kind == Dispatch::Kind::kRun);
  for (auto _ : state) benchmark::DoNotOptimize(node.Ask());
  state.counters["batch"] = node.Ask().count;
}

// A request arrives, is accepted, and is cancelled.
void Arrival(benchmark::State& state, const char* policy) {
  Node node(policy, state.range(0), state.range(1));
  for (auto _ : state) {
    node.Arrive(0);
    node.CancelArrived();
  }
}

void Turn(benchmark::State& state, const char* policy) {
  Node node(policy, state.range(0), state.range(1));
  std::int64_t requests = 0;
  for (auto _ : state) {
    for (std::size_t left = node.EndBatch(); left > 0; --left) {
      node.Arrive(static_cast<GenerationIndex>(requests++ % state.range(0)));
    }
  }
  state.SetItemsProcessed(requests);
}

void DecisionCases(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"queues", "waiting"})->Args({10, 10})->Args({10, 1000})->Args({1000, 1000});
  bench->Args({1000, 4000});
}
void ArrivalCases(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"queues", "waiting"})->Args({10, 10})->Args({10, 100})->Args({10, 1000});
  bench->Args({1000, 1000});
}
void TurnCases(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"queues", "waiting"})->Args({10, 20})->Args({10, 200});
}

BENCHMARK_CAPTURE(Decision, edf, "edf")->Apply(DecisionCases);
BENCHMARK_CAPTURE(Decision, fifo, "fifo")->Apply(DecisionCases);
BENCHMARK_CAPTURE(Decision, size_or_timeout, "size-or-timeout")->Apply(DecisionCases);
BENCHMARK_CAPTURE(Arrival, edf, "edf")->Apply(ArrivalCases);
BENCHMARK_CAPTURE(Arrival, fifo, "fifo")->Apply(ArrivalCases);
BENCHMARK_CAPTURE(Arrival, size_or_timeout, "size-or-timeout")->Apply(ArrivalCases);
BENCHMARK_CAPTURE(Turn, edf, "edf")->Apply(TurnCases);
BENCHMARK_CAPTURE(Turn, fifo, "fifo")->Apply(TurnCases);
BENCHMARK_CAPTURE(Turn, size_or_timeout, "size-or-timeout")->Apply(TurnCases);

}  // namespace
}  // namespace duly

BENCHMARK_MAIN();
