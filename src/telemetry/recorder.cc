// SPDX-License-Identifier: Apache-2.0
#include "telemetry/recorder.h"

#include <pthread.h>

#include <array>
#include <chrono>
#include <mutex>
#include <utility>

#include "base/log.h"

namespace duly {
namespace {

// Waking the writer would cost a system call under the node's lock, so it looks by itself, this
// often. The ring holds far more than arrives meanwhile.
constexpr std::chrono::milliseconds kPoll{10};

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
    : options_(options), ring_(options.ring_bytes, event_log::kPadding), sink_(std::move(sink)) {}

Recorder::~Recorder() {
  const Status status = Close();
  (void)status;  // has been logged
}

std::uint8_t* Recorder::Begin(std::size_t bytes) {
  std::uint8_t* begin = ring_.Reserve(bytes);
  if (begin == nullptr && options_.when_full == RecorderOptions::WhenFull::kWait) [[unlikely]]
    begin = WaitForRoom(bytes);
  if (begin == nullptr) [[unlikely]] {
    ++missing_;
    lost_.fetch_add(1, std::memory_order_relaxed);
  }
  return begin;
}

std::uint8_t* Recorder::WaitForRoom(std::size_t bytes) {
  // Beyond half a ring there may be no room even in an empty one.
  if (bytes > ring_.capacity() / 2) return nullptr;
  std::uint8_t* begin = nullptr;
  std::unique_lock lock(mutex_);
  hurry_ = true;
  stopped_.notify_one();
  while ((begin = ring_.Reserve(bytes)) == nullptr) released_.wait(lock);
  hurry_ = false;
  return begin;
}

void Recorder::OnEvent(TimePoint now, const Event& event, const Effects& effects) {
  if (event.kind == Event::Kind::kLoad) [[unlikely]]
    return OnLoad(now, *event.load, effects);
  std::uint8_t* const begin = Begin(RecordEncoder::MostBytes(effects));
  if (begin == nullptr) [[unlikely]]
    return;
  std::uint8_t* end = begin;
  if (missing_ != 0) [[unlikely]]
    end = encoder_.AddGap(end, std::exchange(missing_, 0));
  end = encoder_.Add(end, now, event, effects);
  ring_.Commit(static_cast<std::size_t>(end - begin));
}

void Recorder::OnLoad(TimePoint now, const GenerationLoad& load, const Effects& effects) {
  const std::string json = ToJson(load);
  std::uint8_t* const begin = Begin(RecordEncoder::MostBytes(effects) + json.size());
  if (begin == nullptr) return;
  std::uint8_t* end = begin;
  if (missing_ != 0) end = encoder_.AddGap(end, std::exchange(missing_, 0));
  end = encoder_.AddLoad(end, now, json, effects);
  ring_.Commit(static_cast<std::size_t>(end - begin));
}

void Recorder::Write(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "duly-record");
  std::uint32_t polls = 0;
  for (;;) {
    // Asked before looking, so that nothing that came before the request is left behind.
    const bool stopping = stop.stop_requested();
    ++polls;
    for (;;) {
      const std::span<const std::uint8_t> records = ring_.Readable();
      const bool due = stopping || polls >= options_.polls_per_block;
      if (records.empty() || (!due && records.size() < options_.block_bytes)) break;
      WriteBlock(records);
      ring_.Release(records.size());
      polls = 0;
      if (options_.when_full == RecorderOptions::WhenFull::kWait) {
        const MutexLock lock(mutex_);
        released_.notify_one();
      }
    }
    if (stopping) return;
    std::unique_lock lock(mutex_);
    // lint: allow(clock) the writer of this folder is its only thread, and it reads no time
    stopped_.wait_for(lock, stop, kPoll, [this] { return hurry_; });
  }
}

void Recorder::WriteBlock(std::span<const std::uint8_t> records) {
  if (!status_.ok()) return;
  const std::span<const std::byte> payload = std::as_bytes(records);
  const auto frame = framer_.Frame(payload);
  status_ = sink_->Append(frame);
  if (status_.ok()) status_ = sink_->Append(payload);
  if (!status_.ok()) {
    spdlog::error("event log: {}: recording has stopped, serving goes on", status_.message());
  }
}

Status Recorder::Close() {
  if (std::exchange(closed_, true)) return status_;
  writer_.request_stop();
  writer_.join();
  std::array<std::uint8_t, RecordEncoder::kGapBytes + RecordEncoder::kEndBytes> end;
  std::uint8_t* out = end.data();
  if (missing_ != 0) out = encoder_.AddGap(out, missing_);
  out = encoder_.AddEnd(out);
  WriteBlock(std::span(end).first(static_cast<std::size_t>(out - end.data())));
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
