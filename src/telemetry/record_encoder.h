// SPDX-License-Identifier: Apache-2.0
//
// Encodes the records of an event log. It runs under the node's lock and may cost a hundredth of a
// request, so it is in a header, to be inlined, and only copies fields into structs whose layout is
// fixed and, where it can be, that of their source.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "base/time.h"
#include "engine/event.h"
#include "telemetry/event_log_records.h"

namespace duly {

// The encoder of one log. Each call writes at `out` and returns the end of what it wrote.
class RecordEncoder {
 public:
  // The most bytes that Add() writes for an event with these effects, and AddGap() before it.
  static std::size_t MostBytes(const Effects& effects);
  static constexpr std::size_t kGapBytes = sizeof(event_log::GapRecord);
  static constexpr std::size_t kEndBytes = sizeof(event_log::EndRecord);

  // `effects` are those of this event alone. Not for loads.
  std::uint8_t* Add(std::uint8_t* out, TimePoint time, const Event& event, const Effects& effects);
  // json: the load (log_header.h); its size comes on top of MostBytes().
  std::uint8_t* AddLoad(std::uint8_t* out, TimePoint time, std::string_view json,
                        const Effects& effects);
  // `count` >= 1 events are missing here.
  std::uint8_t* AddGap(std::uint8_t* out, std::uint64_t count);
  // The last record: how many events are in the log and how many are missing.
  std::uint8_t* AddEnd(std::uint8_t* out) const;

 private:
  std::uint64_t recorded_ = 0;
  std::uint64_t lost_ = 0;
};

namespace event_log {

template <typename Record>
std::uint8_t* Put(std::uint8_t* out, const Record& record) {
  static_assert(alignof(Record) == 1, "records lie anywhere");
  ::new (out) Record(record);
  return out + sizeof(Record);
}

inline LoggedId ToLogged(const RequestId& id) { return id.sequence << 32 | id.index; }

inline std::uint8_t* PutArrival(std::uint8_t* out, std::int64_t time, const Arrival& arrival,
                                std::uint32_t index) {
  const bool has_options = arrival.slo != Duration(-1) || arrival.timeout != Duration(-1) ||
                           arrival.call_timeout != Duration(-1) || arrival.variants != 0 ||
                           arrival.min_accuracy_pct != -1 || arrival.priority != 0;
  out = Put(out, ArrivalRecord{.tag = has_options ? kArrivalWithOptions : kArrival,
                               .time = time,
                               .generation = arrival.generation,
                               .application = arrival.application,
                               .shape = arrival.shape,
                               .rows = arrival.rows,
                               .index = index});
  if (!has_options) return out;
  return Put(out, ArrivalOptions{.variants = arrival.variants,
                                 .slo = arrival.slo.count(),
                                 .timeout = arrival.timeout.count(),
                                 .call_timeout = arrival.call_timeout.count(),
                                 .min_accuracy_pct = arrival.min_accuracy_pct,
                                 .priority = arrival.priority});
}

inline std::uint8_t* PutBatchDone(std::uint8_t* out, std::int64_t time, const BatchDone& done) {
  return Put(out, BatchDoneRecord{.tag = kBatchDone,
                                  .failed = done.failed,
                                  .time = time,
                                  .batch = done.batch,
                                  .input = done.input.count(),
                                  .infer = done.infer.count(),
                                  .output = done.output.count()});
}

inline std::uint8_t* PutEvent(std::uint8_t* out, std::int64_t time, const Event& event,
                              const RequestId& arrived) {
  if (event.kind == Event::Kind::kArrival) {
    return PutArrival(out, time, event.arrival, arrived.index);
  }
  if (event.kind == Event::Kind::kBatchDone) return PutBatchDone(out, time, event.done);
  if (event.kind == Event::Kind::kCancel) {
    return Put(out, CancelRecord{.tag = kCancel, .time = time, .request = ToLogged(event.request)});
  }
  if (event.kind == Event::Kind::kUnload) {
    return Put(out, UnloadRecord{.tag = kUnload, .time = time, .generation = event.generation});
  }
  const bool drain = event.kind == Event::Kind::kDrain;
  return Put(out, PlainRecord{.tag = drain ? kDrain : kTimer, .time = time});
}

inline std::uint8_t* PutFinish(std::uint8_t* out, const Finish& finish) {
  return Put(out, FinishRecord{.tag = kFinish,
                               .outcome = static_cast<std::uint8_t>(finish.outcome),
                               .reason = static_cast<std::uint8_t>(finish.reason),
                               .request = ToLogged(finish.request),
                               .application = finish.application,
                               .device = finish.device,
                               .batch = finish.batch,
                               .batch_position = finish.batch_position,
                               .variant = finish.variant,
                               .batch_rows = finish.batch_rows,
                               .waiting = finish.waiting.count(),
                               .service = finish.service.count(),
                               .predicted = finish.predicted.count(),
                               .retry_after = finish.retry_after.count()});
}

inline std::uint8_t* PutStart(std::uint8_t* out, const StartBatch& start) {
  return Put(out, StartRecord{.tag = kStart,
                              .batch = start.batch,
                              .device = start.device,
                              .slot = start.slot,
                              .generation = start.generation,
                              .variant = start.variant,
                              .rows = start.rows,
                              .predicted = start.predicted.count(),
                              .member_count = start.member_count});
}

inline std::uint8_t* PutEffects(std::uint8_t* out, const Effects& effects) {
  for (const Finish& finish : effects.finishes) out = PutFinish(out, finish);
  for (const StartBatch& start : effects.starts) {
    out = PutStart(out, start);
    for (const RequestId& member : effects.MembersOf(start)) {
      out = Put(out, MemberRecord{.request = ToLogged(member)});
    }
  }
  return out;
}

}  // namespace event_log

inline std::size_t RecordEncoder::MostBytes(const Effects& effects) {
  using namespace event_log;
  // No record is longer than what it encodes, so the sizes of those are enough: no multiplication.
  static_assert(sizeof(FinishRecord) <= sizeof(Finish) &&
                sizeof(StartRecord) <= sizeof(StartBatch) &&
                sizeof(MemberRecord) <= sizeof(RequestId));
  static_assert(sizeof(LoadRecord) <= sizeof(ArrivalRecord));
  return sizeof(GapRecord) + sizeof(ArrivalRecord) + sizeof(ArrivalOptions) +
         effects.finishes.size() * sizeof(Finish) + effects.starts.size() * sizeof(StartBatch) +
         effects.members.size() * sizeof(RequestId);
}

[[gnu::always_inline]] inline std::uint8_t* RecordEncoder::Add(std::uint8_t* out, TimePoint time,
                                                               const Event& event,
                                                               const Effects& effects) {
  ++recorded_;
  out = event_log::PutEvent(out, ToNanos(time), event, effects.arrived);
  return event_log::PutEffects(out, effects);
}

inline std::uint8_t* RecordEncoder::AddLoad(std::uint8_t* out, TimePoint time,
                                            std::string_view json, const Effects& effects) {
  using namespace event_log;
  ++recorded_;
  out = Put(out, LoadRecord{.tag = kLoad,
                            .time = ToNanos(time),
                            .json_bytes = static_cast<std::uint32_t>(json.size())});
  std::memcpy(out, json.data(), json.size());
  return PutEffects(out + json.size(), effects);
}

inline std::uint8_t* RecordEncoder::AddGap(std::uint8_t* out, std::uint64_t count) {
  lost_ += count;
  return event_log::Put(out, event_log::GapRecord{.tag = event_log::kGap, .lost = count});
}

inline std::uint8_t* RecordEncoder::AddEnd(std::uint8_t* out) const {
  return event_log::Put(
      out, event_log::EndRecord{.tag = event_log::kEnd, .recorded = recorded_, .lost = lost_});
}

}  // namespace duly
