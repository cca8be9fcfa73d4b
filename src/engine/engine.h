// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/event.h"
#include "engine/stats.h"
#include "policy/interface/dispatch_policy.h"

namespace duly {

// A device as the engine knows it.
struct EngineDevice {
  std::string name;
  std::uint32_t slots = 1;
};

// What the engine is built from; logged in the event log's header, so that replay can build it
// again.
struct EngineConfig {
  std::vector<EngineDevice> devices;
  std::vector<Generation> generations;  // placements hold the measured curves
  std::vector<Application>
      applications;  // the first ones are declared; each generation's default is among them
  std::uint32_t max_waiting = 1024;  // requests that wait at once, all queues together
};

// One node: queues, batches, accounting, the life of every request.
//
// A plain state machine: each input is an Event with the time at which it was taken, each result is
// written into Effects; it reads no clock, owns no thread and calls nothing but its policy. Live,
// the runtime guards it with one lock per scheduling domain and calls it in the order of the event
// numbers; replay and simulation feed it the same way.
//
// Invariants (checked always; a violation is a bug and stops the process):
//   every arrival ends by exactly one Finish; nothing starts before its arrival or at or after its
//   expiry; no device runs more batches than it has slots, no variant more than its instances, no
//   batch holds more rows than the model's cap or requests that may not share one.
class Engine {
 public:
  Engine(EngineConfig config, std::unique_ptr<DispatchPolicy> policy);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Times must not go back. Events that refer to what is gone (a cancelled request that has ended)
  // have no effect.
  void Handle(TimePoint now, const Event& event, Effects& effects);

  // When a kTimer event is due: the earliest expiry or wish of the policy to be asked again.
  TimePoint NextTimer() const;

  // Requests that wait or run.
  std::size_t live_requests() const { return live_requests_; }
  const EngineStats& stats() const { return stats_; }
  const EngineConfig& config() const { return config_; }

 private:
  struct Batch {
    bool running = false;
    DeviceIndex device = 0;
    std::uint32_t slot = 0;
    GenerationIndex generation = 0;
    std::uint32_t variant = 0;
    std::uint32_t rows = 0;
    TimePoint started{};
    Duration predicted{0};
    std::vector<std::uint32_t> members;
  };

  View MakeView(TimePoint now) const;
  Request& NewRequest();

  void OnArrival(TimePoint now, const Arrival& arrival, Effects& effects);
  void OnBatchDone(TimePoint now, const BatchDone& done, Effects& effects);
  void OnTimer(TimePoint now, Effects& effects);
  void OnCancel(TimePoint now, RequestId id, Effects& effects);
  void DispatchAll(TimePoint now, Effects& effects);
  void Start(TimePoint now, DeviceIndex device, const Dispatch& decision, Effects& effects);

  void Enqueue(Request& request, QueueIndex queue);
  // Takes a waiting request out of its queue, its device's bookings and the timers.
  void Dequeue(Request& request);
  void Demote(Request& request);
  void EndWaiting(TimePoint now, Request& request, Outcome outcome, RejectReason reason,
                  Effects& effects);
  void Refuse(TimePoint now, const Arrival& arrival, Request& request, RejectReason reason,
              Effects& effects);
  void Finished(const Request& request, const Finish& finish, GenerationIndex generation);
  void RefreshHead(QueueIndex queue);
  QueueIndex FindQueue(GenerationIndex generation, std::uint64_t shape, VariantMask variants);

  EngineConfig config_;
  std::unique_ptr<DispatchPolicy> policy_;
  std::size_t live_requests_ = 0;
  EngineStats stats_;
};

}  // namespace duly
