// SPDX-License-Identifier: Apache-2.0
//
// Event logs, read, summed up and replayed. Checksums are made right first, so that what is changed
// gets past them. What is read to its end is the same when it is written and read again.
#include "telemetry/log_reader.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "telemetry/crc32c.h"
#include "telemetry/event_log.h"
#include "telemetry/log_summary.h"
#include "telemetry/log_test_util.h"
#include "telemetry/replay.h"

namespace duly {
namespace {

constexpr std::size_t kHeaderLengthAt = 12;
constexpr std::size_t kHeaderCrcAt = 16;

std::span<const std::byte> Bytes(const std::string& text, std::size_t from, std::size_t size) {
  return std::as_bytes(std::span(text)).subspan(from, size);
}

std::uint32_t Get(const std::string& text, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, &text[at], sizeof(value));
  return value;
}

void Put(std::string& text, std::size_t at, std::uint32_t value) {
  std::memcpy(&text[at], &value, sizeof(value));
}

// Lengths that reach past the end become what is left, indices and checksums what they should be.
void Mend(std::string& log) {
  if (log.size() < kEventLogPreludeBytes) return;
  const std::size_t most = log.size() - kEventLogPreludeBytes;
  // Where the header's length was changed, its end is that of a JSON object before a first frame.
  std::size_t header = Get(log, kHeaderLengthAt);
  if (header < 1 || header > most || log[kEventLogPreludeBytes + header - 1] != '}') {
    header = most;
    for (std::size_t end = log.find("}]}"); end != std::string::npos;
         end = log.find("}]}", end + 1)) {
      const std::size_t frame = end + 3;
      if (log.size() - frame < kEventLogFrameBytes || Get(log, frame + 4) != 0) continue;
      header = frame - std::min(frame, kEventLogPreludeBytes);
      break;
    }
  }
  Put(log, kHeaderLengthAt, static_cast<std::uint32_t>(header));
  Put(log, kHeaderCrcAt,
      Crc32c(Bytes(log, kEventLogPreludeBytes, header), Crc32c(Bytes(log, 0, kHeaderCrcAt))));
  std::size_t at = kEventLogPreludeBytes + header;
  for (std::uint32_t block = 0; log.size() - at >= kEventLogFrameBytes; ++block) {
    const std::size_t left = log.size() - at - kEventLogFrameBytes;
    std::size_t size = std::min<std::size_t>(Get(log, at), left);
    const bool last = left - size < kEventLogFrameBytes ||
                      Get(log, at + kEventLogFrameBytes + size + 4) != block + 1;
    if (last) size = left;
    Put(log, at, static_cast<std::uint32_t>(size));
    Put(log, at + 4, block);
    Put(log, at + 8, Crc32c(Bytes(log, at + kEventLogFrameBytes, size)));
    Put(log, at + 12, Crc32c(Bytes(log, at, 12)));
    at += kEventLogFrameBytes + size;
  }
}

void CheckRecords(const std::string& log) {
  Result<EventLogReader> reader = ReadLog(log);
  if (!reader) return;
  std::vector<LogRecord> records;
  std::uint64_t number = 0;
  for (;;) {
    const Result<const LogRecord*> next = reader->Next();
    if (!next) {
      DULY_CHECK(!next.error().message().empty());
      return;
    }
    if (*next == nullptr) break;
    const LogRecord& record = **next;
    if (record.kind == LogRecord::Kind::kEnd) continue;
    DULY_CHECK(record.number == number + 1);
    number += record.kind == LogRecord::Kind::kGap ? record.lost : 1;
    std::size_t members = 0;
    for (const StartBatch& start : record.effects.starts) {
      DULY_CHECK(start.device < reader->config().devices.size());
      DULY_CHECK(start.first_member == members);
      members += start.member_count;
    }
    DULY_CHECK(members == record.effects.members.size());
    records.push_back(record);
  }
  if (reader->cut()) return;
  const ReadResult again = ReadAll(EncodeLog(reader->header(), records));
  DULY_CHECK(again.status.ok() && !again.cut);
  DULY_CHECK(again.records.size() == records.size() + 1);
  for (std::size_t i = 0; i < records.size(); ++i) {
    DULY_CHECK(SameRecord(records[i], again.records[i]));
  }
}

void Read(const std::string& log) {
  CheckRecords(log);
  if (Result<EventLogReader> reader = ReadLog(log)) {
    if (const Result<LogSummary> summary = Summarize(*reader)) {
      DULY_CHECK(summary->applications.size() <= reader->config().applications.size());
    }
  }
  if (Result<EventLogReader> reader = ReadLog(log)) {
    if (const Result<ReplayReport> report = Replay(*reader, RegistryFactory())) {
      DULY_CHECK(!report->exact() || report->events > 0 || report->decisions == 0);
    }
  }
}

}  // namespace
}  // namespace duly

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string log(reinterpret_cast<const char*>(data), size);
  duly::Mend(log);
  duly::Read(log);
  return 0;
}
