// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace duly {

// Drives an engine in virtual time, for tests: an event heap of arrivals, completions,
// cancellations and timers. Keeps what became of every request and checks, without trusting the
// engine, that each ends exactly once, that none starts before its arrival or after its patience,
// and that no capacity is exceeded.
class VirtualDriver {
 public:
  // The true service time of a batch.
  using ServiceTime = std::function<Duration(const StartBatch&)>;
  using Failure = std::function<bool(const StartBatch&)>;

  VirtualDriver(EngineConfig config, std::unique_ptr<DispatchPolicy> policy, ServiceTime service);

  // Requests are numbered 0, 1, ... in the order of these calls.
  std::size_t ArriveAt(TimePoint when, const Arrival& arrival);
  void CancelAt(TimePoint when, std::size_t request);
  void DrainAt(TimePoint when);
  void LoadAt(TimePoint when, GenerationLoad load);
  void UnloadAt(TimePoint when, GenerationIndex generation);
  // Which batches fail; none without it.
  void FailIf(Failure failure) { failure_ = std::move(failure); }

  // Handles what happens until then, then until nothing is left to happen when nothing is said.
  void Run(TimePoint until = kNever);

  struct Record {
    Arrival arrival;
    TimePoint arrived{};
    TimePoint started = kNever;
    TimePoint ended = kNever;
    RequestId id;
    std::uint32_t finishes = 0;
    Finish finish;
  };
  const std::vector<Record>& records() const { return records_; }
  const Record& operator[](std::size_t request) const { return records_.at(request); }
  const std::vector<StartBatch>& starts() const { return starts_; }
  const Engine& engine() const { return engine_; }
  // What went wrong, in words; after Run() without bound also what never ended.
  const std::vector<std::string>& violations() const { return violations_; }
  // Of every effect: two runs are the same if and (nearly) only if these are.
  std::uint64_t fingerprint() const { return fingerprint_; }

 private:
  struct Happening {
    TimePoint when;
    std::uint64_t order = 0;
    Event event;
    std::size_t request = 0;  // of kArrival and kCancel
    bool operator>(const Happening& other) const {
      return std::pair(when, order) > std::pair(other.when, other.order);
    }
  };
  struct Running {
    StartBatch start;
    bool busy = false;
  };

  void Push(TimePoint when, const Event& event, std::size_t request);
  void Handle(TimePoint now, Event event, std::size_t request);
  void Collect(TimePoint now);
  void CheckStart(const StartBatch& start);
  void Expect(bool holds, const std::string& what);
  void Mix(std::uint64_t value) { fingerprint_ = (fingerprint_ ^ value) * 0x100000001B3ULL; }

  Engine engine_;
  ServiceTime service_;
  Failure failure_;
  std::priority_queue<Happening, std::vector<Happening>, std::greater<>> heap_;
  std::uint64_t pushed_ = 0;
  std::deque<GenerationLoad> loads_;  // stable addresses
  Effects effects_;
  std::vector<Record> records_;
  std::vector<std::size_t> by_index_;  // engine's index -> record
  std::vector<Running> running_;       // by batch
  std::vector<StartBatch> starts_;
  std::vector<std::string> violations_;
  std::uint64_t fingerprint_ = 0xCBF29CE484222325ULL;
};

}  // namespace duly
