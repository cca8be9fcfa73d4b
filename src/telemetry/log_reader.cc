// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>

#include "engine/load.h"
#include "telemetry/crc32c.h"
#include "telemetry/event_log_records.h"

namespace duly {
namespace {

using namespace event_log;

// Above everything that a recorder writes; a longer length is a fault, not a reason to allocate.
constexpr std::uint32_t kMaxHeaderBytes = 256U << 20;
constexpr std::uint32_t kMaxBlockBytes = 256U << 20;
// 73 years: differences of times fit.
constexpr TimePoint kLastTime = FromNanos(std::int64_t{1} << 61);

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

// Takes the structs of a block one after the other. After a fault everything is 0 and ok() is
// false.
class EventLogReader::Cursor {
 public:
  explicit Cursor(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  std::size_t left() const { return bytes_.size(); }
  // The next record's tag, without taking it; kPadding when there is no further one.
  std::uint8_t PeekTag() const { return bytes_.empty() ? std::uint8_t{kPadding} : bytes_.front(); }
  template <typename T>
  T Take() {
    T value{};
    if (bytes_.size() < sizeof(T)) {
      Fail();
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }
  std::string_view TakeText(std::size_t size) {
    if (bytes_.size() < size) {
      Fail();
      return {};
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return text;
  }
  void Fail() {
    ok_ = false;
    bytes_ = {};
  }

 private:
  std::span<const std::uint8_t> bytes_;
  bool ok_ = true;
};

namespace {

// By value: a packed record's members must not be referred to.
Duration ToDuration(std::int64_t ns) { return Duration(ns); }

RequestId FromLogged(LoggedId id, std::uint64_t number) {
  // The latest sequence up to the event's number with this low half.
  const auto back = static_cast<std::uint32_t>(number - (id >> 32));
  return {static_cast<std::uint32_t>(id), number - back};
}

// Each of the following that reads an event returns its time.

template <typename Cursor>
std::int64_t TakeArrival(Cursor& cursor, std::uint64_t number, Arrival& arrival, RequestId& made) {
  const auto record = cursor.template Take<ArrivalRecord>();
  arrival.generation = record.generation;
  arrival.application = record.application;
  arrival.shape = record.shape;
  arrival.rows = record.rows;
  made = {record.index, number};
  if (record.tag == kArrivalWithOptions) {
    const auto options = cursor.template Take<ArrivalOptions>();
    arrival.variants = options.variants;
    arrival.slo = ToDuration(options.slo);
    arrival.timeout = ToDuration(options.timeout);
    arrival.call_timeout = ToDuration(options.call_timeout);
    arrival.min_accuracy_pct = options.min_accuracy_pct;
    arrival.priority = options.priority;
  }
  return record.time;
}

template <typename Cursor>
std::int64_t TakeBatchDone(Cursor& cursor, BatchDone& done) {
  const auto record = cursor.template Take<BatchDoneRecord>();
  done.batch = record.batch;
  done.failed = record.failed != 0;
  done.input = ToDuration(record.input);
  done.infer = ToDuration(record.infer);
  done.output = ToDuration(record.output);
  return record.time;
}

template <typename Cursor>
std::int64_t TakeCancel(Cursor& cursor, std::uint64_t number, RequestId& id) {
  const auto record = cursor.template Take<CancelRecord>();
  id = FromLogged(record.request, number);
  return record.time;
}

template <typename Cursor>
Finish TakeFinish(Cursor& cursor, std::uint64_t number) {
  const auto record = cursor.template Take<FinishRecord>();
  if (record.outcome >= kOutcomeCount ||
      record.reason > static_cast<std::uint8_t>(RejectReason::kModelUnavailable)) {
    cursor.Fail();
  }
  Finish finish;
  finish.request = FromLogged(record.request, number);
  finish.outcome = static_cast<Outcome>(record.outcome);
  finish.reason = static_cast<RejectReason>(record.reason);
  finish.application = record.application;
  finish.device = record.device;
  finish.batch = record.batch;
  finish.batch_position = record.batch_position;
  finish.variant = record.variant;
  finish.batch_rows = record.batch_rows;
  finish.waiting = ToDuration(record.waiting);
  finish.service = ToDuration(record.service);
  finish.predicted = ToDuration(record.predicted);
  finish.retry_after = ToDuration(record.retry_after);
  return finish;
}

template <typename Cursor>
void TakeStart(Cursor& cursor, std::uint64_t number, Effects& effects) {
  const auto record = cursor.template Take<StartRecord>();
  StartBatch start;
  start.batch = record.batch;
  start.device = record.device;
  start.slot = record.slot;
  start.generation = record.generation;
  start.variant = record.variant;
  start.rows = record.rows;
  start.predicted = ToDuration(record.predicted);
  start.first_member = static_cast<std::uint32_t>(effects.members.size());
  start.member_count = record.member_count;
  effects.starts.push_back(start);
  for (std::uint32_t i = 0; i < start.member_count && cursor.ok(); ++i) {
    effects.members.push_back(FromLogged(cursor.template Take<MemberRecord>().request, number));
  }
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
    return fault(fmt::format("has format version {}: expected {}: use the duly that recorded it",
                             version, kEventLogVersion));
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
  config_ = header_.config;
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
  position_ = 0;
  offset_ = block_offset_ + length;
  ++blocks_;
  return true;
}

Result<const LogRecord*> EventLogReader::Next() {
  while (position_ == block_.size() || block_[position_] == kPadding) {
    DULY_ASSIGN_OR_RETURN(const bool more, ReadBlock());
    if (!more) return nullptr;
  }
  record_position_ = position_;
  ++records_;
  if (ended_) return Error(Fault("there is a record behind the end record"));
  Cursor cursor(std::span<const std::uint8_t>(block_).subspan(position_));
  DULY_RETURN_IF_ERROR(ReadRecord(cursor));
  position_ = block_.size() - cursor.left();
  return &record_;
}

Status EventLogReader::ReadRecord(Cursor& cursor) {
  switch (cursor.PeekTag()) {
    case kGap:
      return ReadGap(cursor);
    case kEnd:
      return ReadEnd(cursor);
    default:
      return ReadEvent(cursor);
  }
}

Status EventLogReader::ReadGap(Cursor& cursor) {
  const auto gap = cursor.Take<GapRecord>();
  if (!cursor.ok() || gap.lost == 0 ||
      gap.lost > std::numeric_limits<std::uint64_t>::max() - number_) {
    return Fault("the gap record makes no sense");
  }
  record_.kind = LogRecord::Kind::kGap;
  record_.number = number_ + 1;
  record_.lost = gap.lost;
  number_ += gap.lost;
  return Status();
}

Status EventLogReader::ReadEnd(Cursor& cursor) {
  const auto end = cursor.Take<EndRecord>();
  record_.kind = LogRecord::Kind::kEnd;
  record_.recorded = end.recorded;
  record_.lost = end.lost;
  ended_ = true;
  if (!cursor.ok() || record_.recorded != recorded_ || record_.lost != number_ - recorded_) {
    return Fault(fmt::format("the end record counts {} events and {} lost ones: expected {} and {}",
                             record_.recorded, record_.lost, recorded_, number_ - recorded_));
  }
  return Status();
}

Status EventLogReader::ReadEvent(Cursor& cursor) {
  record_.kind = LogRecord::Kind::kEvent;
  record_.number = ++number_;
  record_.event = Event();
  record_.load.reset();
  record_.effects.Clear();
  Event& event = record_.event;
  Effects& effects = record_.effects;
  std::int64_t time = 0;
  switch (cursor.PeekTag()) {
    case kArrival:
    case kArrivalWithOptions:
      event.kind = Event::Kind::kArrival;
      time = TakeArrival(cursor, number_, event.arrival, effects.arrived);
      break;
    case kBatchDone:
      event.kind = Event::Kind::kBatchDone;
      time = TakeBatchDone(cursor, event.done);
      break;
    case kCancel:
      event.kind = Event::Kind::kCancel;
      time = TakeCancel(cursor, number_, event.request);
      break;
    case kTimer:
      event.kind = Event::Kind::kTimer;
      time = cursor.Take<PlainRecord>().time;
      break;
    case kDrain:
      event.kind = Event::Kind::kDrain;
      time = cursor.Take<PlainRecord>().time;
      break;
    case kLoad: {
      event.kind = Event::Kind::kLoad;
      const auto record = cursor.Take<LoadRecord>();
      time = record.time;
      Result<GenerationLoad> load = ParseGenerationLoad(cursor.TakeText(record.json_bytes));
      if (!cursor.ok()) break;
      if (!load) return Fault(load.error().message());
      record_.load = std::make_shared<const GenerationLoad>(std::move(*load));
      event.load = record_.load.get();
      break;
    }
    case kUnload: {
      event.kind = Event::Kind::kUnload;
      const auto record = cursor.Take<UnloadRecord>();
      time = record.time;
      event.generation = record.generation;
      break;
    }
    default:
      return Fault("there is no event of this kind");
  }
  while (cursor.PeekTag() == kFinish) {
    effects.finishes.push_back(TakeFinish(cursor, number_));
  }
  while (cursor.PeekTag() == kStart) TakeStart(cursor, number_, effects);
  if (!cursor.ok()) return Fault("a field is cut off or out of range");
  if (std::isnan(event.arrival.min_accuracy_pct)) {
    return Fault("its accuracy floor is not a number: expected percentage points, or less than 0");
  }
  if (recorded_ > 0 && FromNanos(time) < record_.time) {
    return Fault(fmt::format("its time {} ns is before that of the event before, {} ns", time,
                             ToNanos(record_.time)));
  }
  if (time < -ToNanos(kLastTime) || time > ToNanos(kLastTime)) {
    return Fault(fmt::format("its time is {} ns", time));
  }
  record_.time = FromNanos(time);
  ++recorded_;
  const Status changed = ApplyChange();
  return changed.ok() ? CheckIndices() : changed;
}

Status EventLogReader::ApplyChange() {
  const Event& event = record_.event;
  Status status;
  if (event.kind == Event::Kind::kLoad) {
    status = Apply(*event.load, config_.devices.size(), config_.generations, config_.applications);
  } else if (event.kind == Event::Kind::kUnload) {
    status = ApplyUnload(event.generation, config_.generations);
  }
  return status.ok() ? status : Fault(status.message());
}

Status EventLogReader::CheckIndices() const {
  const EngineConfig& config = config_;
  const auto beyond = [this](std::string_view what, std::size_t index, std::size_t count) {
    return index < count ? Status()
                         : Fault(fmt::format("names {} {}: there are {}", what, index, count));
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
