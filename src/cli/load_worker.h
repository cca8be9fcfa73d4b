// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/time.h"
#include "base/unique_fd.h"
#include "cli/load_client.h"
#include "cli/load_target.h"
#include "model/outcome.h"
#include "workload/schedule.h"

namespace duly {

// Makes an eventfd readable.
void WakeUp(int event_fd);

// Names that answers bring along, as small numbers. Threading: any.
class NameTable {
 public:
  NameTable() { Intern(""); }

  std::uint16_t Intern(std::string_view name) DULY_EXCLUDES(mutex_);
  std::vector<std::string> names() DULY_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::unordered_map<std::string, std::uint16_t> index_ DULY_GUARDED_BY(mutex_);
  std::vector<std::string> names_ DULY_GUARDED_BY(mutex_);
};

// What the workers of a run have in common.
struct LoadShared {
  LoadClient::Options options;
  std::span<const LoadTarget> targets;
  std::span<const workload::Arrival> schedule;
  std::chrono::steady_clock::time_point start;
  std::vector<LoadRecord> records;
  NameTable names;
  UniqueFd ended;
  std::atomic<std::uint32_t> running{0};

  // Offsets from the start, in nanoseconds; moved to earlier times by Stop.
  std::atomic<std::int64_t> last_arrival{0};
  std::atomic<std::int64_t> last_answer{0};
  std::atomic<bool> stopped{false};

  Duration Now() const { return std::chrono::steady_clock::now() - start; }
};

// Sends every n-th request of a schedule. What it does by itself is when; how is its protocol's.
// Threading: Run() is the thread's own; the atomics are read by others.
class LoadWorker {
 public:
  LoadWorker(LoadShared& shared, std::uint32_t index);
  virtual ~LoadWorker() = default;
  LoadWorker(const LoadWorker&) = delete;
  LoadWorker& operator=(const LoadWorker&) = delete;

  // Whether it has the descriptors that it needs.
  bool valid() const { return valid_; }
  void Begin() {
    thread_ = std::jthread([this] { Run(); });
  }
  void Wake();
  // Before it is destroyed.
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

  virtual std::size_t connections_opened() const = 0;
  double cpu_s() const { return cpu_s_; }
  std::uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
  std::uint64_t ended(Outcome outcome) const {
    return ended_[static_cast<std::size_t>(outcome)].load(std::memory_order_relaxed);
  }

 protected:
  // epoll_pwait2 has nanoseconds where epoll_wait has milliseconds. Kernels before 5.11 lack it:
  // they get whole milliseconds, rounded down, and the rest is spent asking again.
  class Poller {
   public:
    Poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {}
    bool valid() const { return fd_.valid(); }
    bool Add(int fd, std::uint32_t events, std::uint64_t key);
    // Valid until the next call.
    std::span<const epoll_event> Wait(Duration timeout);

   private:
    UniqueFd fd_;
    // A turn of the loop takes at most this many, so that arrivals do not starve.
    std::array<epoll_event, 64> events_{};
    bool coarse_ = false;
  };

  // What a protocol does, in the worker's own thread:
  // The request is due. May end it at once.
  virtual void Send(std::uint32_t request) = 0;
  // Its client goes away, if it has not ended.
  virtual void Cancel(std::uint32_t request) = 0;
  // What was given to the poller under this key is ready.
  virtual void HandleEvent(std::uint64_t /*key*/, std::uint32_t /*events*/) {}
  // In every turn: what had to wait may go on.
  virtual void Proceed() {}
  // The run is over: whatever is under way ends, and nothing is recorded any more.
  virtual void Close() = 0;
  // That the thread has used.
  virtual double CpuSeconds() const;
  static double CpuSecondsOf(int whose);  // as getrusage(2)

  // The request has its outcome; false: it had one.
  bool End(std::uint32_t request, Outcome outcome);
  bool idle() const { return in_flight_.load() == 0; }
  LoadRecord& record(std::uint32_t request) { return shared_.records[request]; }
  const LoadTarget& target(std::uint32_t request) const {
    return shared_.targets[shared_.schedule[request].application];
  }
  // One thread at a time.
  std::uint16_t Name(std::string_view name);

  LoadShared& shared_;
  Poller poller_;

 private:
  struct Cancellation {
    Duration at;
    std::uint32_t request;

    friend bool operator>(const Cancellation& a, const Cancellation& b) { return a.at > b.at; }
  };

  void Run();
  Duration NextDue() const;
  void SendDue(Duration now);
  void CancelDue(Duration now);

  double cpu_s_ = 0;
  UniqueFd wake_;
  bool valid_ = false;
  std::size_t next_;  // index into the schedule
  const std::size_t step_;
  std::priority_queue<Cancellation, std::vector<Cancellation>, std::greater<>> cancellations_;
  std::atomic<std::size_t> in_flight_{0};  // requests sent or waiting
  std::vector<std::pair<std::string, std::uint16_t>> known_names_;
  std::atomic<std::uint64_t> sent_{0};
  std::array<std::atomic<std::uint64_t>, kOutcomeCount> ended_{};
  std::jthread thread_;
};

}  // namespace duly
