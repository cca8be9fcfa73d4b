// SPDX-License-Identifier: Apache-2.0
#include "telemetry/recorder.h"

#include <pthread.h>

#include <chrono>
#include <cstring>
#include <mutex>
#include <type_traits>
#include <utility>

#include "base/log.h"

namespace duly {
namespace {

// Waking the writer would cost a system call under the node's lock, so it looks by itself: this
// often. The ring holds far more than arrives meanwhile.
constexpr std::chrono::milliseconds kPoll{10};

// An event in the ring. The finishes, starts and members follow.
struct Entry {
  std::uint64_t missing;  // events lost before this one
  TimePoint time;
  Event event;
  RequestId arrived;
  std::uint32_t finishes;
  std::uint32_t starts;
  std::uint32_t members;
};

template <typename T>
std::byte* Append(std::byte* out, const T* values, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % alignof(std::uint64_t) == 0);
  // memcpy must not be given the null pointer of an empty vector.
  if (count != 0) std::memcpy(out, values, count * sizeof(T));
  return out + count * sizeof(T);
}

template <typename T>
std::span<const T> Take(std::span<const std::byte>& bytes, std::size_t count) {
  const auto* values = reinterpret_cast<const T*>(bytes.data());
  bytes = bytes.subspan(count * sizeof(T));
  return {values, count};
}

}  // namespace

Result<std::unique_ptr<Recorder>> Recorder::Start(const std::string& file,
                                                  const EventLogHeader& header,
                                                  const RecorderOptions& options) {
  DULY_ASSIGN_OR_RETURN(std::unique_ptr<LogSink> sink, OpenLogFile(file));
  return Start(std::move(sink), header, options);
}

Result<std::unique_ptr<Recorder>> Recorder::Start(std::unique_ptr<LogSink> sink,
                                                  const EventLogHeader& header,
                                                  const RecorderOptions& options) {
  const std::string bytes = EncodeFileHeader(header);
  DULY_RETURN_IF_ERROR(sink->Append(std::as_bytes(std::span(bytes))));
  std::unique_ptr<Recorder> recorder(new Recorder(std::move(sink), options));
  recorder->writer_ = std::jthread(
      [recorder = recorder.get()](const std::stop_token& stop) { recorder->Write(stop); });
  return recorder;
}

Recorder::Recorder(std::unique_ptr<LogSink> sink, const RecorderOptions& options)
    : options_(options), ring_(options.ring_bytes), sink_(std::move(sink)) {}

Recorder::~Recorder() {
  const Status status = Close();
  (void)status;  // has been logged
}

void Recorder::OnEvent(TimePoint now, const Event& event, const Effects& effects) {
  const std::size_t finishes = effects.finishes.size();
  const std::size_t starts = effects.starts.size();
  const std::size_t members = effects.members.size();
  std::byte* out = nullptr;
  // After a loss the ring first becomes half empty: one long gap says more than many short ones.
  if (missing_ == 0 || ring_.AtMostHalfFull()) {
    out = ring_.Reserve(sizeof(Entry) + finishes * sizeof(Finish) + starts * sizeof(StartBatch) +
                        members * sizeof(RequestId));
  }
  if (out == nullptr) {
    ++missing_;
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const Entry entry{.missing = std::exchange(missing_, 0),
                    .time = now,
                    .event = event,
                    .arrived = effects.arrived,
                    .finishes = static_cast<std::uint32_t>(finishes),
                    .starts = static_cast<std::uint32_t>(starts),
                    .members = static_cast<std::uint32_t>(members)};
  out = Append(out, &entry, 1);
  out = Append(out, effects.finishes.data(), finishes);
  out = Append(out, effects.starts.data(), starts);
  Append(out, effects.members.data(), members);
  ring_.Commit();
}

void Recorder::Write(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "duly-record");
  std::uint32_t polls = 0;
  for (;;) {
    // Asked before draining, so that nothing that came before the request is left behind.
    const bool stopping = stop.stop_requested();
    Drain();
    if (stopping) return;
    if (encoder_.pending_bytes() == 0) {
      polls = 0;
    } else if (++polls >= options_.polls_per_block) {
      WriteBlock();
      polls = 0;
    }
    std::unique_lock lock(mutex_);
    // lint: allow(clock) the writer of this folder is its only thread, and it reads no time
    stopped_.wait_for(lock, stop, kPoll, [] { return false; });
  }
}

void Recorder::Drain() {
  // Up to what is there now: an engine that is faster than the disk must not keep the writer here.
  const std::uint64_t until = ring_.produced();
  for (;;) {
    std::span<const std::byte> bytes = ring_.Front(until);
    if (bytes.empty()) return;
    if (status_.ok()) {
      const Entry& entry = Take<Entry>(bytes, 1).front();
      if (entry.missing != 0) encoder_.AddGap(entry.missing);
      Decisions decisions;
      decisions.arrived = entry.arrived;
      decisions.finishes = Take<Finish>(bytes, entry.finishes);
      decisions.starts = Take<StartBatch>(bytes, entry.starts);
      decisions.members = Take<RequestId>(bytes, entry.members);
      encoder_.Add(entry.time, entry.event, decisions);
    } else {
      lost_.fetch_add(1, std::memory_order_relaxed);
    }
    ring_.Pop();
    if (encoder_.pending_bytes() >= options_.block_bytes) WriteBlock();
  }
}

void Recorder::WriteBlock() {
  const std::uint64_t in_block = encoder_.pending_events();
  status_ = sink_->Append(encoder_.TakeBlock());
  if (status_.ok()) return;
  lost_.fetch_add(in_block, std::memory_order_relaxed);
  spdlog::error("event log: {}: recording has stopped, serving goes on", status_.message());
}

Status Recorder::Close() {
  if (std::exchange(closed_, true)) return status_;
  writer_.request_stop();
  writer_.join();
  if (status_.ok()) {
    if (missing_ != 0) encoder_.AddGap(missing_);
    encoder_.AddEnd();
    WriteBlock();
  }
  if (lost() != 0) {
    spdlog::warn("event log: {} events are missing in it", lost());
  }
  const Status closed = sink_->Close();
  if (status_.ok() && !closed.ok()) {
    status_ = closed;
    spdlog::error("event log: {}", status_.message());
  }
  return status_;
}

}  // namespace duly
