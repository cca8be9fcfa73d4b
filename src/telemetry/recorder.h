// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/result.h"
#include "engine/event_observer.h"
#include "telemetry/byte_ring.h"
#include "telemetry/event_log.h"
#include "telemetry/log_sink.h"
#include "telemetry/record_encoder.h"

namespace duly {

struct RecorderOptions {
  // Between the engine and the writer. A request takes about 180 bytes of it.
  std::size_t ring_bytes = std::size_t{4} << 20;
  // A block is written when there are so many bytes ...
  std::size_t block_bytes = std::size_t{64} << 10;
  // ... or when the writer, which looks every 10 ms, has seen so often that there are fewer.
  std::uint32_t polls_per_block = 25;
  // What OnEvent() does when the ring is full. A live node must not wait; virtual time can.
  enum class WhenFull : std::uint8_t { kLose, kWait } when_full = WhenFull::kLose;
};

// Writes the event log of a running engine.
//
// OnEvent() encodes the event and what it led to into a ring and returns: no lock, no allocation,
// no system call. A writer thread frames what is in the ring and writes it. When the ring is full,
// events are lost: the log says how many, between which. When the disk fails, that is said once in
// the log for people, the event log ends there, and OnEvent() goes on as before.
//
// Threading: OnEvent() from one thread at a time (under the node's lock), Close() from one thread
// after the last OnEvent(), lost() from any thread.
class Recorder final : public EventObserver {
 public:
  // Creates the file and writes the header.
  static Result<std::unique_ptr<Recorder>> Start(const std::string& file,
                                                 const EventLogHeader& header,
                                                 const RecorderOptions& options = {});
  static Result<std::unique_ptr<Recorder>> Start(std::unique_ptr<LogSink> sink,
                                                 const EventLogHeader& header,
                                                 const RecorderOptions& options = {});
  ~Recorder() override;

  void OnEvent(TimePoint now, const Event& event, const Effects& effects) override;

  // Writes what is left and the end record, and closes the file. The first failure since the start,
  // or success. Once; the destructor does it otherwise.
  Status Close();

  // Events that did not fit into the ring, so far.
  std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  Recorder(std::unique_ptr<LogSink> sink, const RecorderOptions& options);
  // Room for an event and for the gap before it; nullptr: the event is lost.
  std::uint8_t* Begin(std::size_t bytes);
  // After the writer has made some; nullptr: there will never be enough.
  std::uint8_t* WaitForRoom(std::size_t bytes);
  void OnLoad(TimePoint now, const GenerationLoad& load, const Effects& effects);
  void Write(const std::stop_token& stop);
  void WriteBlock(std::span<const std::uint8_t> records);

  const RecorderOptions options_;
  ByteRing ring_;
  // OnEvent()'s, and Close()'s after the last event.
  RecordEncoder encoder_;
  std::uint64_t missing_ = 0;  // events lost since the last one that went into the ring
  std::atomic<std::uint64_t> lost_ = 0;

  // The writer's, and Close()'s once the writer has ended.
  std::unique_ptr<LogSink> sink_;
  BlockFramer framer_;
  Status status_;
  bool closed_ = false;

  Mutex mutex_;
  std::condition_variable_any stopped_;   // or asked to hurry
  std::condition_variable_any released_;  // bytes of the ring
  bool hurry_ = false;                    // under mutex_: OnEvent() waits
  std::jthread writer_;
};

}  // namespace duly
