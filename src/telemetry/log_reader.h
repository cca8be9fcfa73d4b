// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "telemetry/event_log.h"
#include "telemetry/log_header.h"

namespace duly {

struct LogRecord {
  enum class Kind : std::uint8_t {
    kEvent,
    kGap,  // `lost` events are missing, the first of them is `number`
    kEnd,  // the log was closed: `recorded` events in it, `lost` missing
  };
  Kind kind = Kind::kEvent;
  std::uint64_t number = 0;                    // of the event
  TimePoint time{};                            // kEvent
  Event event;                                 // kEvent
  std::shared_ptr<const GenerationLoad> load;  // what event.load refers to
  Effects effects;                             // kEvent
  std::uint64_t recorded = 0;
  std::uint64_t lost = 0;
};

// A log that was not closed: its writer died, the disk was full, or the end is missing.
struct LogCut {
  std::uint64_t offset = 0;  // of the first byte that does not belong to a whole block
  std::uint64_t bytes = 0;   // from there to the end of the file
};

// Reads an event log from front to back, a block at a time.
//
// Whatever the file holds, reading ends with records, the end or an error that names the place. All
// indices of devices, generations, applications and variants in a record are within config() (or
// kNoIndex where there may be none), and times do not go back.
class EventLogReader {
 public:
  static Result<EventLogReader> Open(const std::string& file);
  // `name` stands for the file in messages.
  static Result<EventLogReader> Read(std::unique_ptr<std::istream> stream, std::string name);
  ~EventLogReader();
  EventLogReader(EventLogReader&&) noexcept;
  EventLogReader& operator=(EventLogReader&&) noexcept;

  const EventLogHeader& header() const { return header_; }

  // The header's, with what was loaded and unloaded since, up to the record that Next() gave last.
  const EngineConfig& config() const { return config_; }

  // The next record, valid until the next call; nullptr behind the last one. An error is final.
  Result<const LogRecord*> Next();

  // Once Next() gave nullptr: set when there was no end record.
  const std::optional<LogCut>& cut() const { return cut_; }
  // "run.log: byte 65812 (block 3), record 1021": the record that Next() gave last.
  std::string Place() const;

 private:
  class Cursor;

  EventLogReader(std::unique_ptr<std::istream> stream, std::string name, std::uint64_t size);
  Status ReadHeader();
  // False: there is no further whole block.
  Result<bool> ReadBlock();
  Status ReadRecord(Cursor& cursor);
  Status ReadGap(Cursor& cursor);
  Status ReadEnd(Cursor& cursor);
  Status ReadEvent(Cursor& cursor);
  // The load or unload of record_.
  Status ApplyChange();
  Status CheckIndices() const;
  Status Fault(std::string_view what) const;

  std::unique_ptr<std::istream> stream_;
  std::string name_;
  EventLogHeader header_;
  EngineConfig config_;
  std::uint64_t size_ = 0;    // of the file
  std::uint64_t offset_ = 0;  // of the first byte not read yet

  std::vector<std::uint8_t> block_;
  std::uint64_t block_offset_ = 0;  // of block_'s first byte in the file
  std::uint32_t blocks_ = 0;        // read so far
  std::size_t position_ = 0;        // in block_, of the next record
  std::size_t record_position_ = 0;

  std::uint64_t records_ = 0;
  std::uint64_t number_ = 0;  // of the last event
  std::uint64_t recorded_ = 0;
  bool ended_ = false;
  std::optional<LogCut> cut_;
  LogRecord record_;
};

}  // namespace duly
