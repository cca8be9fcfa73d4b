// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "device_model/device_model.h"
#include "engine/engine.h"
#include "engine/event_observer.h"
#include "sim/agenda.h"
#include "sim/link.h"

namespace duly::sim {

// What really happens to the batches of a device, whatever the engine believes of it.
class ServiceModel {
 public:
  struct Service {
    Duration alone{0};  // with nothing beside it
    bool fails = false;
    OnChip on_chip;
  };
  virtual ~ServiceModel() = default;
  // Of a batch that starts now.
  virtual Service Next(const StartBatch& start) = 0;
};

struct SimulatedDevice {
  std::unique_ptr<DeviceModel> model;
  std::unique_ptr<ServiceModel> service;
};

struct SimulatedNode {
  std::string name;
  EngineConfig config;
  std::unique_ptr<DispatchPolicy> policy;
  std::vector<SimulatedDevice> devices;  // as config.devices
  LinkSpec to_node;                      // from a client
  LinkSpec from_node;                    // to a client
  std::uint64_t seed = 0;                // of the links' losses
};

struct SentRequest {
  Duration scheduled{0};  // from the start of the run
  std::uint32_t node = 0;
  Arrival arrival;
  std::uint32_t group = 0;   // with which it is counted
  std::uint32_t client = 0;  // of its source
  std::uint64_t request_bytes = 0;
  std::uint64_t response_bytes = 0;
  Duration cancel_after{-1};  // its client goes away so long after `scheduled`; < 0: it stays
};

// Which models the nodes serve.
class Served {
 public:
  bool Has(std::uint32_t node, GenerationIndex generation) const {
    return by_node_[node][generation];
  }

 private:
  friend class Simulator;
  std::vector<std::vector<bool>> by_node_;
};

// Who sends.
class Source {
 public:
  virtual ~Source() = default;
  // When it sends next, from the start of the run; not before the last one. Nothing: not before one
  // of its requests has ended, if ever.
  virtual std::optional<Duration> NextTime() = 0;
  // At that time. Valid until the next call.
  virtual const SentRequest& Send(const Served& served) = 0;
  // Whether it wants to know how its requests end.
  virtual bool listens() const { return false; }
  // A request of that client has ended, which learns it at `at`.
  virtual void OnEnded(std::uint32_t /*client*/, Duration /*at*/) {}
};

class Simulator;

// What is done to the nodes, and not asked of them.
class Script {
 public:
  virtual ~Script() = default;
  virtual TimePoint NextTime() const = 0;
  // At that time.
  virtual void Act(TimePoint now, Simulator& simulator) = 0;
  // What Unload() asked for is done.
  virtual void OnUnloaded(TimePoint now, std::uint32_t node, GenerationIndex generation) = 0;
};

// How a request ended, as its client sees it.
struct Ended {
  std::uint32_t group = 0;
  std::uint32_t node = 0;
  Duration scheduled{0};  // arrival, from the start of the run
  Duration latency{0};    // from there to the answer's arrival at the client
  const Finish& finish;
};

class EndObserver {
 public:
  virtual ~EndObserver() = default;
  virtual void OnEnded(const Ended& ended) = 0;
};

// Engines in virtual time: an agenda of the ends of runs, the engines' timers, what travels, the
// script and the arrivals, which stand in the agenda in this order. Memory does not grow with the
// number of requests that have ended.
class Simulator {
 public:
  // No arrival and no act of the script at `end` or later. The observer is the caller's, and so is
  // the script, which may be nullptr.
  Simulator(std::vector<SimulatedNode> nodes, std::vector<std::unique_ptr<Source>> sources,
            Duration end, EndObserver& observer, Script* script = nullptr);

  // Of what enters and leaves the engine of a node, from the start on. The caller's.
  void Observe(std::size_t node, EventObserver& observer) { nodes_[node].observer = &observer; }

  // Until nothing before `until` is left to happen; false: nothing is left at all.
  bool Advance(TimePoint until);

  // For the script. A generation that the node does not serve:
  void Load(std::uint32_t node, const GenerationLoad& load);
  // One that it serves: nothing more arrives for it; what was accepted is answered, and then it is
  // gone.
  void Unload(std::uint32_t node, GenerationIndex generation);
  const Served& served() const { return served_; }

  TimePoint now() const { return now_; }
  std::size_t node_count() const { return nodes_.size(); }
  const Engine& engine(std::size_t node) const { return *nodes_[node].engine; }
  const DeviceModel& device(std::size_t node, DeviceIndex device) const {
    return *nodes_[node].devices[device].model;
  }

 private:
  struct Sent {
    std::uint32_t source;
    std::uint32_t client;
    std::uint32_t group;
    Duration scheduled;
    std::uint64_t response_bytes;
  };
  struct Node {
    std::unique_ptr<Engine> engine;
    std::vector<SimulatedDevice> devices;
    std::optional<Link> to_node;
    std::optional<Link> from_node;
    EventObserver* observer = nullptr;
    std::uint32_t first_entry = 0;  // in the agenda: a device each
    std::uint32_t timer_entry = 0;
    struct Run {
      TimePoint started{};
      bool fails = false;
    };
    std::vector<Run> runs;                            // by batch
    std::vector<std::vector<std::uint32_t>> batches;  // [device][slot]
    std::vector<Sent> requests;                       // by the engine's index
    std::vector<GenerationIndex> draining;
  };
  // Beside the agenda, because there is no bound on their number.
  struct Later {
    TimePoint when;
    std::uint64_t order = 0;
    std::uint32_t node = 0;
    RequestId cancelled;           // valid: a cancellation
    std::uint32_t travelling = 0;  // else: the arrival of this entry of travelling_
    std::uint32_t source = 0;
    bool operator>(const Later& other) const {
      return std::pair(when, order) > std::pair(other.when, other.order);
    }
  };
  struct Sending {
    std::unique_ptr<Source> source;
    bool listens = false;
  };
  struct Entry {
    enum class Kind : std::uint8_t { kDevice, kTimer, kLater, kScript, kSource } kind;
    std::uint32_t node = 0;   // kDevice, kTimer
    std::uint32_t index = 0;  // of the device or the source
  };

  void OnDevice(std::uint32_t node, DeviceIndex device);
  void OnSource(std::uint32_t source);
  void OnLater();
  void Push(Later later);
  void Arrive(std::uint32_t source, const SentRequest& request);
  void End(std::uint32_t node, const Sent& sent, const Finish& finish);
  void FinishUnloads(std::uint32_t node);
  void SetScript();
  void SetNext(std::uint32_t source);
  // `arrived`: what a kArrival event brings.
  void Handle(std::uint32_t node, const Event& event, const Sent& arrived = {});
  void StartRun(Node& node, const StartBatch& start);

  std::vector<Node> nodes_;
  std::vector<Sending> sources_;
  const Duration end_;
  EndObserver& observer_;
  Script* const script_;
  Served served_;
  std::size_t draining_ = 0;  // generations, of all nodes
  std::vector<Entry> entries_;
  Agenda agenda_;
  std::uint32_t later_entry_ = 0;
  std::uint32_t script_entry_ = 0;
  std::uint32_t first_source_entry_ = 0;
  std::priority_queue<Later, std::vector<Later>, std::greater<>> later_;
  std::uint64_t pushed_ = 0;
  std::vector<SentRequest> travelling_;  // between client and node
  std::vector<std::uint32_t> unused_;    // entries of it
  TimePoint now_{};
  // One of each kind, to be filled in.
  Event timer_;
  Event arrival_;
  Event done_;
  Event cancel_;
  Event load_;
  Event unload_;
  Effects effects_;
};

}  // namespace duly::sim
