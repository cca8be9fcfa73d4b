// SPDX-License-Identifier: Apache-2.0
//
// The records of the event log, byte by byte. Only the encoder and the reader include this.
//
// A record begins with its tag. What an event led to follows it in records of its own, first the
// requests that ended, then the batches that started, up to the next record that is neither.
#pragma once

#include <bit>
#include <cstdint>

namespace duly::event_log {

static_assert(std::endian::native == std::endian::little, "records are written as they lie");

enum Tag : std::uint8_t {
  kArrival,
  kArrivalWithOptions,
  kBatchDone,
  kTimer,
  kCancel,
  kDrain,
  kLoad,
  kUnload,
  kGap,
  kEnd,
  kFinish,   // of the event before it
  kStart,    // of the event before it
  kPadding,  // the rest of the block says nothing
};

// Names a request: its index, and above that the low half of its sequence, which is that of one of
// the last 2^32 events.
using LoggedId = std::uint64_t;

#pragma pack(push, 1)

struct ArrivalRecord {  // the request's sequence is the event's number
  std::uint8_t tag;
  std::int64_t time;
  std::uint32_t generation;
  std::uint32_t application;
  std::uint64_t shape;
  std::uint32_t rows;
  std::uint32_t index;
};
struct ArrivalOptions {  // follows kArrivalWithOptions; else they are as in Arrival()
  std::uint32_t variants;
  std::int64_t slo;
  std::int64_t timeout;
  std::int64_t call_timeout;
  double min_accuracy_pct;
  std::uint32_t priority;
};

struct BatchDoneRecord {
  std::uint8_t tag;
  std::uint8_t failed;
  std::int64_t time;
  std::uint32_t batch;
  std::int64_t input;
  std::int64_t infer;
  std::int64_t output;
};

struct CancelRecord {
  std::uint8_t tag;
  std::int64_t time;
  LoggedId request;
};

struct PlainRecord {  // kTimer, kDrain
  std::uint8_t tag;
  std::int64_t time;
};

struct LoadRecord {  // the load as JSON follows (log_header.h)
  std::uint8_t tag;
  std::int64_t time;
  std::uint32_t json_bytes;
};

struct UnloadRecord {
  std::uint8_t tag;
  std::int64_t time;
  std::uint32_t generation;
};

struct GapRecord {
  std::uint8_t tag;
  std::uint64_t lost;
};

struct EndRecord {
  std::uint8_t tag;
  std::uint64_t recorded;
  std::uint64_t lost;
};

struct FinishRecord {
  std::uint8_t tag;
  std::uint8_t outcome;
  std::uint8_t reason;
  LoggedId request;
  std::uint32_t application;
  std::uint32_t device;
  std::uint32_t batch;
  std::uint32_t batch_position;
  std::uint32_t variant;
  std::uint32_t batch_rows;
  std::int64_t waiting;
  std::int64_t service;
  std::int64_t predicted;
  std::int64_t retry_after;
};

struct StartRecord {  // a MemberRecord of each follows
  std::uint8_t tag;
  std::uint32_t batch;
  std::uint32_t device;
  std::uint32_t slot;
  std::uint32_t generation;
  std::uint32_t variant;
  std::uint32_t rows;
  std::int64_t predicted;
  std::uint32_t member_count;
};
struct MemberRecord {
  LoggedId request;
};

#pragma pack(pop)

}  // namespace duly::event_log
