// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "device_model/device_model.h"
#include "engine/engine.h"
#include "engine/event_observer.h"
#include "sim/agenda.h"

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
  Duration to_node{0};                   // from a client
  Duration from_node{0};                 // to a client
};

struct SentRequest {
  Duration scheduled{0};  // from the start of the run
  std::uint32_t node = 0;
  Arrival arrival;
  std::uint32_t group = 0;    // with which it is counted
  Duration cancel_after{-1};  // its client goes away so long after `scheduled`; < 0: it stays
};

// Who sends.
class Source {
 public:
  virtual ~Source() = default;
  // The next one, not scheduled before the last one; nullptr: there are no more. Valid until the
  // next call.
  virtual const SentRequest* Next() = 0;
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

// Engines in virtual time: an agenda of the ends of runs, the engines' timers and the arrivals,
// which stand in the agenda in this order. Memory does not grow with the number of requests that
// have ended.
class Simulator {
 public:
  // No arrival at `end` or later. The observer is the caller's.
  Simulator(std::vector<SimulatedNode> nodes, std::vector<std::unique_ptr<Source>> sources,
            Duration end, EndObserver& observer);

  // Of what enters and leaves the engine of a node, from the start on. The caller's.
  void Observe(std::size_t node, EventObserver& observer) { nodes_[node].observer = &observer; }

  // Until nothing before `until` is left to happen; false: nothing is left at all.
  bool Advance(TimePoint until);

  TimePoint now() const { return now_; }
  std::size_t node_count() const { return nodes_.size(); }
  const Engine& engine(std::size_t node) const { return *nodes_[node].engine; }
  const DeviceModel& device(std::size_t node, DeviceIndex device) const {
    return *nodes_[node].devices[device].model;
  }

 private:
  struct Sent {
    std::uint32_t group;
    Duration scheduled;
  };
  struct Node {
    std::unique_ptr<Engine> engine;
    std::vector<SimulatedDevice> devices;
    Duration to_node{0};
    Duration from_node{0};
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
  };
  // Beside the agenda, because there is no bound on their number.
  struct Later {
    TimePoint when;
    std::uint64_t order = 0;
    std::uint32_t node = 0;
    RequestId cancelled;           // valid: a cancellation
    std::uint32_t travelling = 0;  // else: the arrival of this entry of travelling_
    bool operator>(const Later& other) const {
      return std::pair(when, order) > std::pair(other.when, other.order);
    }
  };
  struct Sending {
    std::unique_ptr<Source> source;
    const SentRequest* next = nullptr;
  };
  struct Entry {
    enum class Kind : std::uint8_t { kDevice, kTimer, kLater, kSource } kind;
    std::uint32_t node = 0;   // kDevice, kTimer
    std::uint32_t index = 0;  // of the device or the source
  };

  void OnDevice(std::uint32_t node, DeviceIndex device);
  void OnSource(std::uint32_t source);
  void OnLater();
  void Push(Later later);
  void Arrive(const SentRequest& request);
  void SetNext(std::uint32_t source);
  // `arrived`: what a kArrival event brings.
  void Handle(std::uint32_t node, const Event& event, Sent arrived = {});
  void StartRun(Node& node, const StartBatch& start);

  std::vector<Node> nodes_;
  std::vector<Sending> sources_;
  const Duration end_;
  EndObserver& observer_;
  std::vector<Entry> entries_;
  Agenda agenda_;
  std::uint32_t later_entry_ = 0;
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
  Effects effects_;
};

}  // namespace duly::sim
