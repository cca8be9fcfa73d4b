// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_hash.h"

#include <bit>
#include <concepts>

#include "base/mix_hash.h"
#include "base/random.h"

namespace duly {
namespace {

class Hasher {
 public:
  template <std::integral T>
  void Add(T value) {
    state_ = MixHash(state_, static_cast<std::uint64_t>(value));
  }
  void Add(Duration value) { Add(value.count()); }
  void Add(TimePoint value) { Add(ToNanos(value)); }
  void Add(double value) { Add(std::bit_cast<std::uint64_t>(value)); }
  void Add(const RequestId& id) { AddAll(id.index, id.sequence); }
  template <typename... T>
  void AddAll(const T&... values) {
    (Add(values), ...);
  }
  std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 0;
};

void Add(Hasher& hasher, const Event& event) {
  hasher.Add(static_cast<std::uint64_t>(event.kind));
  switch (event.kind) {
    case Event::Kind::kArrival: {
      const Arrival& a = event.arrival;
      hasher.AddAll(a.generation, a.application, a.shape, a.rows, a.variants, a.slo, a.timeout,
                    a.call_timeout, a.min_accuracy_pct);
      // Hashes of runs without priorities stay what they were.
      if (a.priority != 0) hasher.Add(a.priority);
      break;
    }
    case Event::Kind::kBatchDone: {
      const BatchDone& d = event.done;
      hasher.AddAll(d.batch, d.failed, d.input, d.infer, d.output);
      break;
    }
    case Event::Kind::kCancel:
      hasher.Add(event.request);
      break;
    case Event::Kind::kLoad:
      hasher.Add(StableHash(ToJson(*event.load)));
      break;
    case Event::Kind::kUnload:
      hasher.Add(std::uint64_t{event.generation});
      break;
    case Event::Kind::kTimer:
    case Event::Kind::kDrain:
      break;
  }
}

void Add(Hasher& hasher, const Effects& effects) {
  hasher.AddAll(effects.arrived, effects.finishes.size(), effects.starts.size());
  for (const Finish& f : effects.finishes) {
    hasher.AddAll(static_cast<std::uint64_t>(f.outcome), static_cast<std::uint64_t>(f.reason),
                  f.request, f.application, f.device, f.batch, f.batch_position, f.variant,
                  f.batch_rows, f.waiting, f.service, f.predicted, f.retry_after);
  }
  for (const StartBatch& s : effects.starts) {
    hasher.AddAll(s.batch, s.device, s.slot, s.generation, s.variant, s.rows, s.predicted,
                  s.member_count);
    for (const RequestId& id : effects.MembersOf(s)) hasher.Add(id);
  }
}

}  // namespace

Result<LogHash> HashLog(EventLogReader& reader) {
  EventLogHeader header = reader.header();
  header.host.clear();
  header.started.clear();
  header.build.clear();
  Hasher inputs;
  Hasher decisions;
  for (;;) {
    DULY_ASSIGN_OR_RETURN(const LogRecord* record, reader.Next());
    if (record == nullptr) break;
    if (record->kind == LogRecord::Kind::kEnd) continue;
    inputs.Add(record->number);
    if (record->kind == LogRecord::Kind::kGap) {
      inputs.Add(record->lost);
      continue;
    }
    inputs.Add(record->time);
    Add(inputs, record->event);
    Add(decisions, record->effects);
  }
  LogHash hash;
  hash.config = StableHash(ToJson(header));
  hash.inputs = inputs.value();
  hash.decisions = decisions.value();
  Hasher all;
  all.AddAll(hash.config, hash.inputs, hash.decisions);
  hash.all = all.value();
  return hash;
}

}  // namespace duly
