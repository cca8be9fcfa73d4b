// SPDX-License-Identifier: Apache-2.0
#include "engine/virtual_driver.h"

#include <fmt/format.h>

#include <algorithm>

namespace duly {

VirtualDriver::VirtualDriver(EngineConfig config, std::unique_ptr<DispatchPolicy> policy,
                             ServiceTime service)
    : engine_(std::move(config), std::move(policy)), service_(std::move(service)) {}

void VirtualDriver::Push(TimePoint when, const Event& event, std::size_t request) {
  heap_.push({when, pushed_++, event, request});
}

std::size_t VirtualDriver::ArriveAt(TimePoint when, const Arrival& arrival) {
  Event event;
  event.kind = Event::Kind::kArrival;
  event.arrival = arrival;
  Push(when, event, records_.size());
  records_.emplace_back();
  records_.back().arrival = arrival;
  return records_.size() - 1;
}

void VirtualDriver::CancelAt(TimePoint when, std::size_t request) {
  Event event;
  event.kind = Event::Kind::kCancel;
  Push(when, event, request);
}

void VirtualDriver::DrainAt(TimePoint when) {
  Event event;
  event.kind = Event::Kind::kDrain;
  Push(when, event, 0);
}

void VirtualDriver::LoadAt(TimePoint when, GenerationLoad load) {
  Event event;
  event.kind = Event::Kind::kLoad;
  event.load = &loads_.emplace_back(std::move(load));
  Push(when, event, 0);
}

void VirtualDriver::UnloadAt(TimePoint when, GenerationIndex generation) {
  Event event;
  event.kind = Event::Kind::kUnload;
  event.generation = generation;
  Push(when, event, 0);
}

void VirtualDriver::Run(TimePoint until) {
  for (;;) {
    const TimePoint timer = engine_.NextTimer();
    const TimePoint next = heap_.empty() ? timer : std::min(timer, heap_.top().when);
    if (next == kNever || next > until) break;
    if (!heap_.empty() && heap_.top().when == next) {
      const Happening happening = heap_.top();
      heap_.pop();
      Handle(next, happening.event, happening.request);
    } else {
      Handle(next, Event(), 0);
      Expect(engine_.NextTimer() > next, "the timer asks again for the same instant");
    }
  }
  if (until != kNever) return;
  for (std::size_t i = 0; i < records_.size(); ++i) {
    Expect(records_[i].finishes == 1,
           fmt::format("request {} ended {} times", i, records_[i].finishes));
  }
  Expect(engine_.live_requests() == 0, "requests are left in the engine");
}

void VirtualDriver::Handle(TimePoint now, Event event, std::size_t request) {
  if (event.kind == Event::Kind::kCancel) event.request = records_.at(request).id;
  if (event.kind == Event::Kind::kArrival) records_[request].arrived = now;
  if (event.kind == Event::Kind::kBatchDone) running_.at(event.done.batch).busy = false;
  effects_.Clear();
  engine_.Handle(now, event, effects_);
  // Before an arrival, others may have ended and left it their index.
  std::vector<std::size_t> ended;
  for (const Finish& finish : effects_.finishes) {
    ended.push_back(finish.request == effects_.arrived ? request
                                                       : by_index_.at(finish.request.index));
  }
  if (event.kind == Event::Kind::kArrival) {
    const std::uint32_t index = effects_.arrived.index;
    if (index >= by_index_.size()) by_index_.resize(index + 1);
    by_index_[index] = request;
    records_[request].id = effects_.arrived;
  }
  Mix(static_cast<std::uint64_t>(ToNanos(now)));
  for (std::size_t i = 0; i < ended.size(); ++i) {
    const Finish& finish = effects_.finishes[i];
    Record& record = records_.at(ended[i]);
    Expect(finish.request == record.id, "the end of a request that is not there");
    ++record.finishes;
    record.ended = now;
    record.finish = finish;
    Mix(finish.request.sequence);
    Mix(static_cast<std::uint64_t>(finish.outcome) * 16 +
        static_cast<std::uint64_t>(finish.reason));
    Mix(static_cast<std::uint64_t>(finish.predicted.count()));
  }
  Collect(now);
}

void VirtualDriver::Collect(TimePoint now) {
  for (const StartBatch& start : effects_.starts) {
    Mix(start.batch * 64 + start.variant);
    if (start.batch >= running_.size()) running_.resize(start.batch + 1);
    Expect(!running_[start.batch].busy, "a batch that runs is started again");
    running_[start.batch] = {start, true};
    std::uint32_t rows = 0;
    for (const RequestId member : effects_.MembersOf(start)) {
      Mix(member.sequence);
      Record& record = records_.at(by_index_.at(member.index));
      Expect(record.id == member && record.finishes == 0 && record.started == kNever,
             "a request starts that does not wait");
      Expect(record.arrived <= now, "a request starts before its arrival");
      const bool patient = record.arrival.timeout < Duration(0);
      QueuePolicy policy;
      const Generation& generation = engine_.generations()[record.arrival.generation];
      if (const auto& batching = generation.batching) {
        policy = batching->PolicyOf(batching->LevelOf(record.arrival.priority));
      }
      Expect(patient || !policy.allow_timeout_override || policy.on_timeout == OnTimeout::kDelay ||
                 now < SaturatingAdd(record.arrived, record.arrival.timeout),
             "a request starts after its patience");
      Expect(record.arrival.generation == start.generation, "a batch of several models");
      record.started = now;
      rows += record.arrival.rows;
    }
    Expect(rows == start.rows, "a batch says another number of rows than it has");
    CheckStart(start);
    starts_.push_back(start);
    Event done;
    done.kind = Event::Kind::kBatchDone;
    done.done.batch = start.batch;
    done.done.failed = failure_ && failure_(start);
    done.done.infer = service_(start);
    Push(now + done.done.infer, done, 0);
  }
}

void VirtualDriver::CheckStart(const StartBatch& start) {
  std::size_t on_device = 0;
  std::size_t of_variant = 0;
  for (const Running& other : running_) {
    if (!other.busy || other.start.device != start.device) continue;
    ++on_device;
    of_variant +=
        other.start.generation == start.generation && other.start.variant == start.variant;
  }
  const Generation& generation = engine_.generations()[start.generation];
  const Placement* placement = generation.variants.at(start.variant).On(start.device);
  Expect(on_device <= engine_.config().devices.at(start.device).slots, "more batches than slots");
  Expect(placement != nullptr && of_variant <= placement->instances, "more runs than instances");
  Expect(start.member_count == 1 || start.rows <= generation.max_rows, "more rows than the cap");
}

void VirtualDriver::Expect(bool holds, const std::string& what) {
  if (!holds) violations_.push_back(what);
}

}  // namespace duly
