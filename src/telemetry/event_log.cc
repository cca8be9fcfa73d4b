// SPDX-License-Identifier: Apache-2.0
#include "telemetry/event_log.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "telemetry/crc32c.h"

// Records, after the tag:
//   kArrival    time, flags u8, generation, [application], [shape u64], [rows], [variants],
//               [slo], [timeout], [accuracy f64], id of the request made, decisions
//   kBatchDone  time, batch, input, infer, output, decisions
//   kTimer      time, decisions
//   kCancel     time, id of the request, decisions
//   kDrain      time, decisions
//   decisions   [count, finish...] [count, start...]
//   finish      outcome | reason << 4 u8, id, application, device + 1, batch + 1, batch position,
//               variant, batch rows, waiting, service, predicted, retry after
//   start       batch, device, slot, generation, variant, rows, predicted, count of members, id...
//   id          index, sequence

namespace duly {
namespace {

using namespace event_log;

// The most bytes that one of each can take.
constexpr std::size_t kMostVarint = 10;
constexpr std::size_t kMostEvent = 2 * kMostVarint + 2 + 16 + 12 * kMostVarint;
constexpr std::size_t kMostFinish = 1 + 12 * kMostVarint;
constexpr std::size_t kMostStart = 8 * kMostVarint;
constexpr std::size_t kMostId = 2 * kMostVarint;

static_assert(std::endian::native == std::endian::little);

template <typename T>
std::uint8_t* PutFixed(std::uint8_t* out, T value) {
  std::memcpy(out, &value, sizeof(value));
  return out + sizeof(value);
}

std::uint8_t* Put(std::uint8_t* out, std::uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<std::uint8_t>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<std::uint8_t>(value);
  return out;
}

std::uint8_t* PutSigned(std::uint8_t* out, std::int64_t value) {
  return Put(out, (static_cast<std::uint64_t>(value) << 1) ^
                      static_cast<std::uint64_t>(value < 0 ? -1 : 0));
}

std::uint8_t* Put(std::uint8_t* out, Duration value) { return PutSigned(out, value.count()); }

// kNoIndex becomes 0.
std::uint8_t* PutIndex(std::uint8_t* out, std::uint32_t index) { return Put(out, index + 1U); }

std::uint8_t* Put(std::uint8_t* out, RequestId id, std::uint64_t number) {
  out = PutIndex(out, id.index);
  return PutSigned(out, static_cast<std::int64_t>(id.sequence - number));
}

std::uint8_t* Put(std::uint8_t* out, const Arrival& arrival) {
  std::uint8_t& flags = *out++;
  flags = 0;
  out = Put(out, arrival.generation);
  if (arrival.application != kNoIndex) {
    flags |= kHasApplication;
    out = Put(out, arrival.application);
  }
  if (arrival.shape != 0) {
    flags |= kHasShape;
    out = PutFixed(out, arrival.shape);
  }
  if (arrival.rows != 1) {
    flags |= kHasRows;
    out = Put(out, arrival.rows);
  }
  if (arrival.variants != 0) {
    flags |= kHasVariants;
    out = Put(out, arrival.variants);
  }
  if (arrival.slo != Duration(-1)) {
    flags |= kHasSlo;
    out = Put(out, arrival.slo);
  }
  if (arrival.timeout != Duration(-1)) {
    flags |= kHasTimeout;
    out = Put(out, arrival.timeout);
  }
  if (arrival.min_accuracy_pct != -1) {
    flags |= kHasAccuracy;
    out = PutFixed(out, std::bit_cast<std::uint64_t>(arrival.min_accuracy_pct));
  }
  return out;
}

std::uint8_t* Put(std::uint8_t* out, const Finish& finish, std::uint64_t number) {
  *out++ = static_cast<std::uint8_t>(static_cast<unsigned>(finish.outcome) |
                                     static_cast<unsigned>(finish.reason) << 4);
  out = Put(out, finish.request, number);
  out = Put(out, finish.application);
  out = PutIndex(out, finish.device);
  out = PutIndex(out, finish.batch);
  out = Put(out, finish.batch_position);
  out = Put(out, finish.variant);
  out = Put(out, finish.batch_rows);
  out = Put(out, finish.waiting);
  out = Put(out, finish.service);
  out = Put(out, finish.predicted);
  return Put(out, finish.retry_after);
}

std::uint8_t* Put(std::uint8_t* out, const StartBatch& start) {
  out = Put(out, start.batch);
  out = Put(out, start.device);
  out = Put(out, start.slot);
  out = Put(out, start.generation);
  out = Put(out, start.variant);
  out = Put(out, start.rows);
  out = Put(out, start.predicted);
  return Put(out, start.member_count);
}

}  // namespace

std::string EncodeFileHeader(const EventLogHeader& header) {
  const std::string json = ToJson(header);
  std::string file(kEventLogPreludeBytes, '\0');
  auto* out = reinterpret_cast<std::uint8_t*>(file.data());
  std::memcpy(out, kEventLogMagic.data(), kEventLogMagic.size());
  out = PutFixed(out + kEventLogMagic.size(), kEventLogVersion);
  out = PutFixed(out, static_cast<std::uint32_t>(json.size()));
  std::uint32_t crc =
      Crc32c(std::as_bytes(std::span(file).first(kEventLogPreludeBytes - sizeof(crc))));
  crc = Crc32c(std::as_bytes(std::span(json)), crc);
  PutFixed(out, crc);
  return file + json;
}

EventLogEncoder::EventLogEncoder() : buffer_(std::size_t{128} * 1024) {}

std::uint8_t* EventLogEncoder::Begin(std::size_t most) {
  const std::size_t needed = used_ + 2 * kMostVarint + most;
  if (buffer_.size() < needed) buffer_.resize(2 * needed);
  std::uint8_t* out = buffer_.data() + used_;
  if (used_ == kEventLogFrameBytes) {
    out = Put(out, number_);
    out = PutSigned(out, ToNanos(time_));
  }
  return out;
}

void EventLogEncoder::Add(TimePoint time, const Event& event, const Decisions& decisions) {
  std::uint8_t* out =
      Begin(kMostEvent + decisions.finishes.size() * kMostFinish +
            decisions.starts.size() * kMostStart + decisions.members.size() * kMostId);
  std::uint8_t& tag = *out++;
  tag = kTimer;
  // Unsigned, so that a difference of any two times wraps and comes back.
  out = PutSigned(out, static_cast<std::int64_t>(static_cast<std::uint64_t>(ToNanos(time)) -
                                                 static_cast<std::uint64_t>(ToNanos(time_))));
  time_ = time;
  ++number_;
  ++recorded_;
  switch (event.kind) {
    case Event::Kind::kArrival:
      tag = kArrival;
      out = Put(out, event.arrival);
      out = Put(out, decisions.arrived, number_);
      break;
    case Event::Kind::kBatchDone:
      tag = kBatchDone;
      if (event.done.failed) tag |= kHasFailed;
      out = PutIndex(out, event.done.batch);
      out = Put(out, event.done.input);
      out = Put(out, event.done.infer);
      out = Put(out, event.done.output);
      break;
    case Event::Kind::kTimer:
      break;
    case Event::Kind::kCancel:
      tag = kCancel;
      out = Put(out, event.request, number_);
      break;
    case Event::Kind::kDrain:
      tag = kDrain;
      break;
  }
  if (!decisions.finishes.empty()) {
    tag |= kHasFinishes;
    out = Put(out, decisions.finishes.size());
    for (const Finish& finish : decisions.finishes) out = Put(out, finish, number_);
  }
  if (!decisions.starts.empty()) {
    tag |= kHasStarts;
    out = Put(out, decisions.starts.size());
    std::size_t member = 0;
    for (const StartBatch& start : decisions.starts) {
      out = Put(out, start);
      DULY_CHECK(start.member_count <= decisions.members.size() - member);
      for (const RequestId& id : decisions.members.subspan(member, start.member_count)) {
        out = Put(out, id, number_);
      }
      member += start.member_count;
    }
  }
  used_ = static_cast<std::size_t>(out - buffer_.data());
}

void EventLogEncoder::AddGap(std::uint64_t count) {
  std::uint8_t* out = Begin(1 + kMostVarint);
  *out++ = kGap;
  out = Put(out, count);
  number_ += count;
  used_ = static_cast<std::size_t>(out - buffer_.data());
}

void EventLogEncoder::AddEnd() {
  std::uint8_t* out = Begin(1 + 2 * kMostVarint);
  *out++ = kEnd;
  out = Put(out, recorded());
  out = Put(out, lost());
  used_ = static_cast<std::size_t>(out - buffer_.data());
}

std::span<const std::byte> EventLogEncoder::TakeBlock() {
  DULY_CHECK(used_ > kEventLogFrameBytes);
  const std::span<const std::byte> block = std::as_bytes(std::span(buffer_).first(used_));
  std::uint8_t* out = buffer_.data();
  out = PutFixed(out, static_cast<std::uint32_t>(used_ - kEventLogFrameBytes));
  out = PutFixed(out, block_);
  out = PutFixed(out, Crc32c(block.subspan(kEventLogFrameBytes)));
  PutFixed(out, Crc32c(block.first(kEventLogFrameBytes - sizeof(std::uint32_t))));
  ++block_;
  recorded_before_block_ = recorded_;
  used_ = kEventLogFrameBytes;
  return block;
}

}  // namespace duly
