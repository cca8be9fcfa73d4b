// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>

#include "telemetry/crc32c.h"

namespace duly {
namespace {

using namespace event_log;

// Above everything that a recorder writes; a longer length is a fault, not a reason to allocate.
constexpr std::uint32_t kMaxHeaderBytes = 256U << 20;
constexpr std::uint32_t kMaxBlockBytes = 256U << 20;

template <typename T>
T Fixed(const std::uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

std::span<const std::byte> Bytes(const std::vector<std::uint8_t>& bytes) {
  return std::as_bytes(std::span(bytes));
}

}  // namespace

// Decodes fields of a block. After a fault every field is 0 and ok() is false.
struct EventLogReader::Cursor {
  const std::uint8_t* at;
  const std::uint8_t* end;
  bool ok = true;

  std::size_t left() const { return static_cast<std::size_t>(end - at); }

  std::uint8_t U8() {
    if (at == end) return Fail();
    return *at++;
  }
  std::uint64_t U64() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = U8();
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) {
        // The tenth byte has room for one bit only.
        if (shift == 63 && byte > 1) Fail();
        return value;
      }
    }
    return Fail();
  }
  std::uint32_t U32() {
    const std::uint64_t value = U64();
    return value > std::numeric_limits<std::uint32_t>::max() ? Fail()
                                                             : static_cast<std::uint32_t>(value);
  }
  std::uint32_t Index() { return U32() - 1; }
  std::int64_t I64() {
    const std::uint64_t value = U64();
    return static_cast<std::int64_t>((value >> 1) ^ (0 - (value & 1)));
  }
  Duration Nanos() { return Duration(I64()); }
  std::uint64_t Word() {
    if (left() < sizeof(std::uint64_t)) return Fail();
    const auto value = Fixed<std::uint64_t>(at);
    at += sizeof(value);
    return value;
  }
  RequestId Id(std::uint64_t number) {
    RequestId id;
    id.index = Index();
    id.sequence = number + static_cast<std::uint64_t>(I64());
    return id;
  }
  // Of things that take at least `bytes` each.
  std::size_t Count(std::size_t bytes) {
    const std::uint64_t count = U64();
    return count > left() / bytes ? Fail() : static_cast<std::size_t>(count);
  }

  std::uint8_t Fail() {
    ok = false;
    at = end;
    return 0;
  }
};

namespace {

template <typename Cursor>
Arrival ReadArrival(Cursor& cursor) {
  Arrival arrival;
  const std::uint8_t flags = cursor.U8();
  arrival.generation = cursor.U32();
  if ((flags & kHasApplication) != 0) arrival.application = cursor.U32();
  if ((flags & kHasShape) != 0) arrival.shape = cursor.Word();
  if ((flags & kHasRows) != 0) arrival.rows = cursor.U32();
  if ((flags & kHasVariants) != 0) arrival.variants = cursor.U32();
  if ((flags & kHasSlo) != 0) arrival.slo = cursor.Nanos();
  if ((flags & kHasTimeout) != 0) arrival.timeout = cursor.Nanos();
  if ((flags & kHasAccuracy) != 0) {
    arrival.min_accuracy_pct = std::bit_cast<double>(cursor.Word());
  }
  return arrival;
}

template <typename Cursor>
Finish ReadFinish(Cursor& cursor, std::uint64_t number) {
  Finish finish;
  const std::uint8_t how = cursor.U8();
  if ((how & 0x0F) >= kOutcomeCount ||
      how >> 4 > static_cast<unsigned>(RejectReason::kModelUnavailable)) {
    cursor.Fail();
  } else {
    finish.outcome = static_cast<Outcome>(how & 0x0F);
    finish.reason = static_cast<RejectReason>(how >> 4);
  }
  finish.request = cursor.Id(number);
  finish.application = cursor.U32();
  finish.device = cursor.Index();
  finish.batch = cursor.Index();
  finish.batch_position = cursor.U32();
  finish.variant = cursor.U32();
  finish.batch_rows = cursor.U32();
  finish.waiting = cursor.Nanos();
  finish.service = cursor.Nanos();
  finish.predicted = cursor.Nanos();
  finish.retry_after = cursor.Nanos();
  return finish;
}

template <typename Cursor>
void ReadStart(Cursor& cursor, std::uint64_t number, Effects& effects) {
  StartBatch start;
  start.batch = cursor.U32();
  start.device = cursor.U32();
  start.slot = cursor.U32();
  start.generation = cursor.U32();
  start.variant = cursor.U32();
  start.rows = cursor.U32();
  start.predicted = cursor.Nanos();
  start.first_member = static_cast<std::uint32_t>(effects.members.size());
  start.member_count = static_cast<std::uint32_t>(cursor.Count(2));
  for (std::uint32_t i = 0; i < start.member_count; ++i) {
    effects.members.push_back(cursor.Id(number));
  }
  effects.starts.push_back(start);
}

}  // namespace

EventLogReader::EventLogReader(std::unique_ptr<std::istream> stream, std::string name,
                               std::uint64_t size)
    : stream_(std::move(stream)), name_(std::move(name)), size_(size) {}
EventLogReader::~EventLogReader() = default;
EventLogReader::EventLogReader(EventLogReader&&) noexcept = default;
EventLogReader& EventLogReader::operator=(EventLogReader&&) noexcept = default;

Result<EventLogReader> EventLogReader::Open(const std::string& file) {
  errno = 0;
  auto stream = std::make_unique<std::ifstream>(file, std::ios::binary);
  if (!*stream) {
    return Error(StatusCode::kNotFound, "{}: cannot be read: {}", file, std::strerror(errno));
  }
  return Read(std::move(stream), file);
}

Result<EventLogReader> EventLogReader::Read(std::unique_ptr<std::istream> stream,
                                            std::string name) {
  stream->seekg(0, std::ios::end);
  const std::streamoff size = stream->tellg();
  stream->seekg(0);
  if (!*stream || size < 0) {
    return Error(StatusCode::kInvalidArgument,
                 "{}: cannot be read: expected a regular file (seeking failed)", name);
  }
  EventLogReader reader(std::move(stream), std::move(name), static_cast<std::uint64_t>(size));
  DULY_RETURN_IF_ERROR(reader.ReadHeader());
  return reader;
}

Status EventLogReader::ReadHeader() {
  const auto fault = [this](std::string_view what) {
    return Status(StatusCode::kInvalidArgument, fmt::format("{}: {}", name_, what));
  };
  std::vector<std::uint8_t> prelude(kEventLogPreludeBytes);
  stream_->read(reinterpret_cast<char*>(prelude.data()),
                static_cast<std::streamsize>(prelude.size()));
  if (!*stream_ && size_ >= prelude.size()) return fault("cannot be read: expected a regular file");
  const std::size_t magic = std::min(kEventLogMagic.size(), static_cast<std::size_t>(size_));
  if (magic == 0 || std::memcmp(prelude.data(), kEventLogMagic.data(), magic) != 0) {
    return fault("is not an event log: expected \"DULYLOG\" at its beginning");
  }
  if (!*stream_) return fault("ends within the header");
  const auto version = Fixed<std::uint32_t>(prelude.data() + 8);
  if (version != kEventLogVersion) {
    return fault(fmt::format("has format version {}: expected {}", version, kEventLogVersion));
  }
  const auto length = Fixed<std::uint32_t>(prelude.data() + 12);
  if (length > kMaxHeaderBytes) {
    return fault(
        fmt::format("byte 12: header of {} bytes: expected at most {}", length, kMaxHeaderBytes));
  }
  if (length > size_ - prelude.size()) {
    return fault("ends within the header, or the header's length at byte 12 is damaged");
  }
  std::vector<std::uint8_t> json(length);
  stream_->read(reinterpret_cast<char*>(json.data()), length);
  if (!*stream_) return fault("the header cannot be read");
  const std::uint32_t crc =
      Crc32c(Bytes(json), Crc32c(Bytes(prelude).first(kEventLogPreludeBytes - 4)));
  if (crc != Fixed<std::uint32_t>(prelude.data() + 16)) {
    return fault("bytes 0 to " + std::to_string(prelude.size() + length) +
                 " (header): the checksum does not match: the header is damaged");
  }
  Result<EventLogHeader> header =
      ParseEventLogHeader({reinterpret_cast<const char*>(json.data()), json.size()});
  if (!header) return header.error().WithContext(name_ + ": header");
  header_ = std::move(*header);
  offset_ = prelude.size() + length;
  return Status();
}

Result<bool> EventLogReader::ReadBlock() {
  const auto fault = [this](std::string_view what) {
    return Error(StatusCode::kInvalidArgument, "{}: byte {} (block {}): {}", name_, offset_,
                 blocks_, what);
  };
  const std::uint64_t left = size_ - offset_;
  if (ended_) {
    if (left != 0) return fault("there are bytes behind the end record");
    return false;
  }
  const auto cut = [&] {
    cut_ = LogCut{offset_, left};
    return false;
  };
  if (left < kEventLogFrameBytes) return cut();
  std::array<std::uint8_t, kEventLogFrameBytes> frame;
  stream_->read(reinterpret_cast<char*>(frame.data()), frame.size());
  if (!*stream_) return fault("cannot be read");
  if (Crc32c(std::as_bytes(std::span(frame)).first(12)) != Fixed<std::uint32_t>(&frame[12])) {
    return fault("the checksum of the block's frame does not match: the frame is damaged");
  }
  const auto length = Fixed<std::uint32_t>(frame.data());
  const auto index = Fixed<std::uint32_t>(&frame[4]);
  if (index != blocks_) return fault(fmt::format("there is block {} instead", index));
  if (length > kMaxBlockBytes) {
    return fault(fmt::format("a block of {} bytes: expected at most {}", length, kMaxBlockBytes));
  }
  if (length > left - kEventLogFrameBytes) return cut();
  block_.resize(length);
  stream_->read(reinterpret_cast<char*>(block_.data()), length);
  if (!*stream_) return fault("cannot be read");
  if (Crc32c(Bytes(block_)) != Fixed<std::uint32_t>(&frame[8])) {
    return fault(
        fmt::format("the checksum of its {} bytes does not match: the block is damaged", length));
  }
  block_offset_ = offset_ + kEventLogFrameBytes;
  Cursor cursor{block_.data(), block_.data() + block_.size()};
  const std::uint64_t number = cursor.U64();
  const TimePoint time = FromNanos(cursor.I64());
  if (!cursor.ok || number != number_ || time != time_) {
    return fault(fmt::format("continues after event {} at {} ns: expected event {} at {} ns",
                             number, ToNanos(time), number_, ToNanos(time_)));
  }
  position_ = static_cast<std::size_t>(cursor.at - block_.data());
  offset_ = block_offset_ + length;
  ++blocks_;
  return true;
}

Result<const LogRecord*> EventLogReader::Next() {
  while (position_ == block_.size()) {
    DULY_ASSIGN_OR_RETURN(const bool more, ReadBlock());
    if (!more) return nullptr;
  }
  record_position_ = position_;
  ++records_;
  if (ended_) return Error(Fault("there is a record behind the end record"));
  Cursor cursor{block_.data() + position_, block_.data() + block_.size()};
  DULY_RETURN_IF_ERROR(ReadRecord(cursor));
  position_ = static_cast<std::size_t>(cursor.at - block_.data());
  return &record_;
}

Status EventLogReader::ReadRecord(Cursor& cursor) {
  const std::uint8_t tag = cursor.U8();
  const auto kind = static_cast<Tag>(tag & kTagMask);
  if (kind == kGap) {
    const std::uint64_t count = cursor.U64();
    if (!cursor.ok || count == 0 || count > std::numeric_limits<std::uint64_t>::max() - number_) {
      return Fault("the gap record makes no sense");
    }
    record_.kind = LogRecord::Kind::kGap;
    record_.number = number_ + 1;
    record_.lost = count;
    number_ += count;
    return Status();
  }
  if (kind == kEnd) {
    record_.kind = LogRecord::Kind::kEnd;
    record_.recorded = cursor.U64();
    record_.lost = cursor.U64();
    ended_ = true;
    if (!cursor.ok || record_.recorded != recorded_ || record_.lost != number_ - recorded_) {
      return Fault(
          fmt::format("the end record counts {} events and {} lost ones: expected {} "
                      "and {}",
                      record_.recorded, record_.lost, recorded_, number_ - recorded_));
    }
    return Status();
  }
  record_.kind = LogRecord::Kind::kEvent;
  record_.effects.Clear();
  Event& event = record_.event;
  event = Event();
  const TimePoint time = FromNanos(static_cast<std::int64_t>(
      static_cast<std::uint64_t>(ToNanos(time_)) + static_cast<std::uint64_t>(cursor.I64())));
  ++number_;
  switch (kind) {
    case kArrival:
      event.kind = Event::Kind::kArrival;
      event.arrival = ReadArrival(cursor);
      record_.effects.arrived = cursor.Id(number_);
      break;
    case kBatchDone:
      event.kind = Event::Kind::kBatchDone;
      event.done.failed = (tag & kHasFailed) != 0;
      event.done.batch = cursor.Index();
      event.done.input = cursor.Nanos();
      event.done.infer = cursor.Nanos();
      event.done.output = cursor.Nanos();
      break;
    case kTimer:
      event.kind = Event::Kind::kTimer;
      break;
    case kCancel:
      event.kind = Event::Kind::kCancel;
      event.request = cursor.Id(number_);
      break;
    case kDrain:
      event.kind = Event::Kind::kDrain;
      break;
    default:
      return Fault(fmt::format("unknown kind of record {}", tag));
  }
  if ((tag & kHasFinishes) != 0) {
    const std::size_t count = cursor.Count(12);
    for (std::size_t i = 0; i < count && cursor.ok; ++i) {
      record_.effects.finishes.push_back(ReadFinish(cursor, number_));
    }
  }
  if ((tag & kHasStarts) != 0) {
    const std::size_t count = cursor.Count(8);
    for (std::size_t i = 0; i < count && cursor.ok; ++i) {
      ReadStart(cursor, number_, record_.effects);
    }
  }
  if (!cursor.ok) return Fault("a field is cut off or out of range");
  if (recorded_ > 0 && time < time_) {
    return Fault(fmt::format("its time {} ns is before that of the event before, {} ns",
                             ToNanos(time), ToNanos(time_)));
  }
  ++recorded_;
  time_ = time;
  record_.number = number_;
  record_.time = time;
  return CheckIndices();
}

Status EventLogReader::CheckIndices() const {
  const EngineConfig& config = header_.config;
  const auto beyond = [this](std::string_view what, std::size_t index, std::size_t count) {
    return index < count ? Status()
                         : Fault(fmt::format("names {} {}: the header has {}", what, index, count));
  };
  Status status;
  const auto check = [&](std::string_view what, std::size_t index, std::size_t count) {
    if (status.ok()) status = beyond(what, index, count);
  };
  if (record_.event.kind == Event::Kind::kArrival) {
    const Arrival& arrival = record_.event.arrival;
    check("model", arrival.generation, config.generations.size());
    if (arrival.application != kNoIndex) {
      check("application", arrival.application, config.applications.size());
    }
  }
  for (const Finish& finish : record_.effects.finishes) {
    check("application", finish.application, config.applications.size());
    if (finish.device != kNoIndex) check("device", finish.device, config.devices.size());
    check("variant", finish.variant, kMaxVariants);
  }
  for (const StartBatch& start : record_.effects.starts) {
    check("device", start.device, config.devices.size());
    check("model", start.generation, config.generations.size());
    if (status.ok()) {
      check("variant", start.variant, config.generations[start.generation].variants.size());
    }
  }
  return status;
}

Status EventLogReader::Fault(std::string_view what) const {
  return Status(StatusCode::kInvalidArgument, fmt::format("{}: {}", Place(), what));
}

std::string EventLogReader::Place() const {
  return fmt::format("{}: byte {} (block {}), record {}", name_, block_offset_ + record_position_,
                     blocks_ - 1, records_);
}

}  // namespace duly
