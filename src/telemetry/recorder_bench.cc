// SPDX-License-Identifier: Apache-2.0
//
// What recording costs a request: two events (arrival with the start of its batch, end of the batch
// with its answer). OnEvent runs under the node's lock, framing on the writer's thread. Wall time
// says little on shared cores, so instructions are counted, and divided by the requests:
//   valgrind --tool=callgrind --toggle-collect='*Recorder::OnEvent*' recorder_bench
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/time.h"
#include "telemetry/event_log.h"
#include "telemetry/recorder.h"

namespace duly {
namespace {

class NullSink final : public LogSink {
 public:
  Status Append(std::span<const std::byte>) override { return Status(); }
  Status Close() override { return Status(); }
};

// The events of one request after the other.
class Requests {
 public:
  Requests() {
    arrival.kind = Event::Kind::kArrival;
    arrival.arrival.shape = 0x9E3779B97F4A7C15ULL;
    arrival.arrival.slo = std::chrono::milliseconds(50);
    done.kind = Event::Kind::kBatchDone;
    done.done.input = std::chrono::microseconds(3);
    done.done.infer = std::chrono::microseconds(412);
    done.done.output = std::chrono::microseconds(2);
    started.starts.resize(1);
    started.starts[0].member_count = 1;
    started.starts[0].rows = 1;
    started.starts[0].predicted = std::chrono::microseconds(431);
    started.members.resize(1);
    ended.finishes.resize(1);
    ended.finishes[0].outcome = Outcome::kOnTime;
    ended.finishes[0].device = 0;
    ended.finishes[0].batch = 0;
    ended.finishes[0].batch_rows = 1;
    ended.finishes[0].service = std::chrono::microseconds(425);
    ended.finishes[0].predicted = std::chrono::microseconds(431);
  }
  void Next() {
    const RequestId id{5, number + 1};
    number += 2;
    now += std::chrono::microseconds(700);
    started.arrived = id;
    started.members[0] = id;
    ended.finishes[0].request = id;
  }

  std::uint64_t number = 0;  // of the last event
  TimePoint now = FromNanos(1'000'000'000'000);
  Event arrival;
  Event done;
  Effects started;
  Effects ended;
};

void OnEvent(benchmark::State& state) {
  const EventLogHeader header;
  std::unique_ptr<Recorder> recorder =
      Recorder::Start(std::make_unique<NullSink>(), header).value();
  Requests requests;
  for (auto _ : state) {
    requests.Next();
    recorder->OnEvent(requests.now, requests.arrival, requests.started);
    recorder->OnEvent(requests.now + std::chrono::microseconds(430), requests.done, requests.ended);
  }
  state.counters["requests"] = static_cast<double>(state.iterations());
  // Faster than any engine, so the ring runs full; lost events cost less.
  state.counters["lost"] = static_cast<double>(recorder->lost());
}
BENCHMARK(OnEvent)->Iterations(10000);

// The writer's part: what the disk gets is checksummed, nothing more.
void Frame(benchmark::State& state) {
  const std::vector<std::byte> payload(64 * 1024);
  BlockFramer framer;
  for (auto _ : state) benchmark::DoNotOptimize(framer.Frame(payload));
  state.SetBytesProcessed(static_cast<std::int64_t>(payload.size()) * state.iterations());
}
BENCHMARK(Frame);

}  // namespace
}  // namespace duly

BENCHMARK_MAIN();
