// SPDX-License-Identifier: Apache-2.0
//
// Once its containers have grown, the engine allocates nothing, whatever happens and whichever
// policy decides. This program counts every allocation.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>

#include "base/random.h"
#include "engine/engine_test_util.h"
#include "policy/registry.h"

namespace {
std::size_t g_allocations = 0;
}  // namespace

// Not inlined, so that compilers see pairs of new and delete instead of new and free.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++g_allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace duly {
namespace {

constexpr std::uint32_t kModels = 6;

NodeBuilder NodeOfAllKinds() {
  NodeBuilder node({2, 1});
  node.config().max_waiting = 30;
  for (std::uint32_t m = 0; m < kModels; ++m) {
    const GenerationIndex g = node.Model("m" + std::to_string(m), {{1, 1}, {8, 4}}, 8);
    node.Place(g, 0, 1, {{1, 2}, {8, 6}});
    node.Place(g, node.AddVariant(g, "small", -1, {{1, .5}, {8, 2}}), 1, {{1, 1}});
    node.application(node[g].default_application).on_miss =
        std::array{OnMiss::kRefuse, OnMiss::kServeLate, OnMiss::kDegrade}.at(m % 3);
    node[g].batching = DynamicBatching();
  }
  return node;
}

class Allocation : public testing::TestWithParam<const char*> {
 protected:
  // What the effects of one event may grow to is up to the driver.
  Allocation() { effects_.finishes.reserve(64); }

  // Events of all kinds by chance, so far apart.
  void Drive(int events, Duration mean_gap) {
    for (int i = 0; i < events; ++i) {
      now_ += Duration(
          static_cast<std::int64_t>(random_.Exponential(static_cast<double>(mean_gap.count()))));
      const Event event = Next();
      effects_.Clear();
      engine_.Handle(now_, event, effects_);
      for (const StartBatch& start : effects_.starts) busy_.at(start.batch) = true;
      for (const Finish& finish : effects_.finishes) {
        ++outcomes_.at(static_cast<std::size_t>(finish.outcome));
      }
      if (event.kind == Event::Kind::kArrival) {
        recent_.at(random_.Below(recent_.size())) = effects_.arrived;
      }
    }
  }

  std::array<std::size_t, kOutcomeCount> outcomes_{};

 private:
  Event Next() {
    Event event;
    switch (const std::uint64_t kind = random_.Below(12)) {
      case 0:
        event.kind = Event::Kind::kCancel;
        event.request = recent_.at(random_.Below(recent_.size()));
        break;
      case 1:
      case 2:
      case 3:
        event.done.batch = static_cast<std::uint32_t>(random_.Below(busy_.size()));
        if (!busy_.at(event.done.batch)) break;
        event.kind = Event::Kind::kBatchDone;
        event.done.failed = random_.Below(20) == 0;
        busy_.at(event.done.batch) = false;
        break;
      default:
        event.kind = Event::Kind::kArrival;
        event.arrival.generation = static_cast<GenerationIndex>(random_.Below(kModels));
        event.arrival.rows = 1 + static_cast<std::uint32_t>(random_.Below(2));
        event.arrival.shape = random_.Below(2);
        if (kind == 4) event.arrival.timeout = std::chrono::milliseconds(3);
        if (kind > 5) {
          event.arrival.slo = Duration(static_cast<std::int64_t>(random_.Below(20'000'000)));
        }
        break;
    }
    return event;
  }

  RandomStream random_{1, "events"};
  Engine engine_{NodeOfAllKinds().config(), MakeDispatchPolicy(GetParam(), {}).value()};
  Effects effects_;
  TimePoint now_{};
  std::array<bool, 3> busy_{};  // by slot
  std::array<RequestId, 16> recent_{};
};

TEST_P(Allocation, EndsWithTheGrowthOfTheContainers) {
  // A full house makes them as large as they will be.
  Drive(10'000, std::chrono::microseconds(300));
  Drive(10'000, std::chrono::microseconds(75));
  outcomes_ = {};
  const std::size_t before = g_allocations;
  Drive(10'000, std::chrono::microseconds(300));
  EXPECT_EQ(g_allocations, before);
  for (std::size_t outcome = 0; outcome < kOutcomeCount; ++outcome) {
    EXPECT_GT(outcomes_.at(outcome), 10U) << outcome;
  }
  // A call, where a compiler could leave out the allocation of a new expression.
  ::operator delete(::operator new(1));
  EXPECT_GT(g_allocations, before) << "the counter does not count";
}

TEST_P(Allocation, IsNotNeededForTheQueueOfANewShape) {
  Engine engine(NodeOfAllKinds().config(), MakeDispatchPolicy(GetParam(), {}).value());
  Effects effects;
  Event arrival;
  arrival.kind = Event::Kind::kArrival;
  Event done;
  done.kind = Event::Kind::kBatchDone;
  const auto serve = [&](int requests) {
    for (int i = 0; i < requests; ++i, ++arrival.arrival.shape) {
      const TimePoint now = At(std::chrono::milliseconds(2 * arrival.arrival.shape));
      effects.Clear();
      engine.Handle(now, arrival, effects);
      ASSERT_EQ(effects.starts.size(), 1U);
      done.done.batch = effects.starts[0].batch;
      engine.Handle(now + std::chrono::milliseconds(1), done, effects);
    }
  };
  serve(100);
  const std::size_t before = g_allocations;
  serve(100);
  EXPECT_EQ(g_allocations, before);
}

INSTANTIATE_TEST_SUITE_P(Policies, Allocation, testing::Values("edf", "fifo", "size-or-timeout"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace duly
