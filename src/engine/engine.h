// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/event.h"
#include "engine/loss_window.h"
#include "engine/stats.h"
#include "policy/interface/dispatch_policy.h"

namespace duly {

// A device as the engine knows it.
struct EngineDevice {
  std::string name;
  std::uint32_t slots = 1;
};

// What the engine is built from; logged in the event log's header, so that replay can build it
// again. Further generations and their applications come by events.
struct EngineConfig {
  std::vector<EngineDevice> devices;
  std::vector<Generation> generations;    // placements hold the measured curves
  std::vector<Application> applications;  // declared ones and the default one of each generation
  std::uint32_t max_waiting = 1024;       // requests that wait at once, all queues together
};

// One node: queues, batches, accounting, the life of every request.
//
// A plain state machine: each input is an Event with the time at which it was taken, each result is
// written into Effects; it reads no clock, owns no thread and calls nothing but its policy. Live,
// the runtime guards it with one lock per scheduling domain and calls it in the order of the event
// numbers; replay and simulation feed it the same way.
//
// Invariants, always checked; a violation is a policy's or the engine's bug and stops the process:
// every arrival ends by exactly one Finish; nothing starts before its arrival or at or after its
// expiry; nothing waits for ever; no device runs more batches than it has slots, no variant more
// than its instances, no batch holds more rows than the model's cap or requests that may not share
// one.
class Engine {
 public:
  Engine(EngineConfig config, std::unique_ptr<DispatchPolicy> policy);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Times must not go back. Events about what is gone (a cancelled request that has ended) have no
  // effect. Appends to `effects`.
  void Handle(TimePoint now, const Event& event, Effects& effects);

  // When a kTimer event is due: the earliest end of a wait, or the policy's wish to be asked again.
  TimePoint NextTimer() const;

  std::size_t live_requests() const { return live_; }  // waiting or running
  const EngineStats& stats() const { return stats_; }
  // As it was built; what is there since, and its state, is in generations() and applications().
  const EngineConfig& config() const { return config_; }
  const std::vector<Generation>& generations() const { return generations_; }
  const std::vector<Application>& applications() const { return applications_; }

 private:
  struct Batch {  // one per slot
    DeviceIndex device = 0;
    std::uint32_t slot = 0;
    // Of what runs there.
    GenerationIndex generation = 0;
    std::uint32_t variant = 0;
    std::uint32_t rows = 0;
    TimePoint started{};
    Duration predicted{0};
    std::vector<std::uint32_t> members;  // empty: nothing runs
  };
  struct QueueKey {
    GenerationIndex generation;
    VariantMask variants;
    std::uint64_t shape;
    friend bool operator==(const QueueKey&, const QueueKey&) = default;
  };
  struct QueueKeyHash {
    std::size_t operator()(const QueueKey& key) const;
  };

  View MakeView(TimePoint now) const;
  Request& NewRequest(TimePoint now);
  void Free(Request& request);
  std::uint32_t& WaitingOfLevel(const Request& request) {
    return waiting_of_level_[request.generation][request.level];
  }
  // Its patience has ended, and it waits on behind those whose lasts.
  void Delay(Request& request);
  QueueIndex FindQueue(const QueueKey& key);
  void Enqueue(Request& request, QueueIndex queue);
  void Dequeue(Request& request);
  void Demote(Request& request);
  void RefreshHead(QueueIndex index);

  void OnArrival(TimePoint now, const Arrival& arrival, Effects& effects);
  void OnBatchDone(TimePoint now, const BatchDone& done, Effects& effects);
  void OnCancel(TimePoint now, RequestId id, Effects& effects);
  void OnLoad(const GenerationLoad& load);
  void OnUnload(GenerationIndex index);
  // Makes room, so that nothing is allocated later.
  void Reserve(GenerationIndex index);
  // Statistics and budgets of applications that have none yet.
  void OpenAccounts();
  // A request's charge to its application's budget has become a loss, or nothing.
  void Settle(const Request& request, const Finish& finish);
  void DropDue(TimePoint now, Effects& effects);
  void DispatchAll(TimePoint now, Effects& effects);
  // Whether the policy started or turned away anything.
  bool DispatchOn(TimePoint now, DeviceIndex device, Effects& effects);
  void Start(TimePoint now, DeviceIndex device, const Dispatch& decision, Effects& effects);
  // Where nothing waits or runs, what was observed of these variants fades.
  void ForgetIfIdle(GenerationIndex generation, VariantMask variants);
  // Ends a request that never started.
  void EndWaiting(TimePoint now, Request& request, Outcome outcome, RejectReason reason,
                  Effects& effects);
  // All that is counted for statistics and metrics alone. Never inlined, so that
  // bench/instructions.py can tell what they cost.
  [[gnu::noinline]] void Account(TimePoint now, const Request& request, const Finish& finish);
  [[gnu::noinline]] void AccountBatch(TimePoint now, const Batch& batch, const BatchDone& done);
  Duration RetryAfter(TimePoint now) const;

  const EngineConfig config_;
  std::unique_ptr<DispatchPolicy> policy_;
  const QueueOrdering ordering_;
  std::vector<Generation> generations_;
  std::vector<Application> applications_;
  std::vector<std::optional<LossWindow>> loss_windows_;  // by application
  std::vector<Device> devices_;
  std::vector<TimePoint> ask_again_;  // by device

  std::deque<Request> requests_;  // stable addresses
  std::vector<std::uint32_t> free_requests_;
  std::vector<Queue> queues_;
  std::vector<QueueHead> heads_;
  std::unordered_map<QueueKey, QueueIndex, QueueKeyHash> queue_index_;
  QueueIndex next_reused_ = 0;
  RequestList<DueOrder> order_;                               // all that wait
  Duration waiting_work_{0};                                  // sum over `order_`
  std::vector<std::vector<std::uint32_t>> waiting_of_level_;  // [generation][level]
  RequestList<DropOrder> drops_;                              // those whose wait a timer may end
  std::vector<Batch> batches_;  // slots of all devices, device by device
  Victims victims_;

  TimePoint last_{};
  std::uint64_t sequence_ = 0;
  std::size_t live_ = 0;
  bool draining_ = false;
  EngineStats stats_;
};

}  // namespace duly
