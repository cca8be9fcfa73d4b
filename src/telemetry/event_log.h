// SPDX-License-Identifier: Apache-2.0
//
// The file format of the event log, and its encoder. log_reader.h decodes it.
//
//   file     = prelude, header JSON (log_header.h), block...
//   prelude  = "DULYLOG\n", version u32, JSON length u32, CRC u32 of all this and the JSON
//   block    = length u32, index u32 from 0, CRC u32 of the payload, CRC u32 of these 12 bytes;
//              payload of that length
//   payload  = number and time of the event before the block, records
//   record   = tag u8, fields; see event_log.cc
//
// Fixed-size numbers are little-endian, CRCs are CRC-32C, all others varints: 7 bits a byte, low
// ones first; signed ones zigzag. Times are differences to the event before, sequence numbers of
// requests differences to the event's number. Each block can be decoded alone; the last record of a
// log that was closed is an end record. Numbers of events ascend by one from 1; a gap record skips
// those that were lost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "engine/event.h"
#include "telemetry/log_header.h"

namespace duly {

inline constexpr std::string_view kEventLogMagic = "DULYLOG\n";
inline constexpr std::uint32_t kEventLogVersion = 1;
inline constexpr std::size_t kEventLogPreludeBytes = 20;
inline constexpr std::size_t kEventLogFrameBytes = 16;

// What one event led to; borrowed. The members of each start follow those of the start before.
struct Decisions {
  RequestId arrived;
  std::span<const Finish> finishes;
  std::span<const StartBatch> starts;
  std::span<const RequestId> members;
};

inline Decisions DecisionsOf(const Effects& effects) {
  return {effects.arrived, effects.finishes, effects.starts, effects.members};
}

// Prelude and header, the beginning of a log.
std::string EncodeFileHeader(const EventLogHeader& header);

// Makes the blocks of one log. Allocates only while its buffer grows.
class EventLogEncoder {
 public:
  EventLogEncoder();

  void Add(TimePoint time, const Event& event, const Decisions& decisions);
  // `count` >= 1 events are missing here.
  void AddGap(std::uint64_t count);
  // The last record: how many events are in the log and how many are missing.
  void AddEnd();

  // Bytes in the open block; 0 when it has no record.
  std::size_t pending_bytes() const { return used_ == kEventLogFrameBytes ? 0 : used_; }
  std::uint64_t pending_events() const { return recorded_ - recorded_before_block_; }
  // Closes the block, which has a record, and opens the next one. Valid until the next call.
  std::span<const std::byte> TakeBlock();

  std::uint64_t recorded() const { return recorded_; }
  std::uint64_t lost() const { return number_ - recorded_; }

 private:
  std::uint8_t* Begin(std::size_t most);

  std::vector<std::uint8_t> buffer_;
  std::size_t used_ = kEventLogFrameBytes;
  std::uint32_t block_ = 0;
  std::uint64_t number_ = 0;  // of the last event, recorded or lost
  TimePoint time_{};
  std::uint64_t recorded_ = 0;
  std::uint64_t recorded_before_block_ = 0;
};

namespace event_log {

// Tags: the low three bits say what the record is, the others what it has.
enum Tag : std::uint8_t {
  kArrival,
  kBatchDone,
  kTimer,
  kCancel,
  kDrain,
  kGap,  // count of the lost events
  kEnd,  // recorded events, lost events
};
inline constexpr std::uint8_t kTagMask = 0x07;
inline constexpr std::uint8_t kHasFinishes = 0x08;
inline constexpr std::uint8_t kHasStarts = 0x10;
inline constexpr std::uint8_t kHasFailed = 0x20;  // kBatchDone: the run failed

// Fields of an arrival that differ from their default.
inline constexpr std::uint8_t kHasApplication = 0x01;
inline constexpr std::uint8_t kHasShape = 0x02;
inline constexpr std::uint8_t kHasRows = 0x04;
inline constexpr std::uint8_t kHasVariants = 0x08;
inline constexpr std::uint8_t kHasSlo = 0x10;
inline constexpr std::uint8_t kHasTimeout = 0x20;
inline constexpr std::uint8_t kHasAccuracy = 0x40;

}  // namespace event_log
}  // namespace duly
