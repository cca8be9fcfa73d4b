// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/interface/backend.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/event_observer.h"
#include "engine/stats.h"
#include "model/model_spec.h"
#include "profile/profile.h"
#include "runtime/infer.h"

namespace duly {

struct NodeDevice {
  DeviceSpec spec;  // slots, threads and cores already settled (platform/cpu_budget.h)
  std::unique_ptr<Backend> backend;
};

struct NodeOptions {
  std::vector<NodeDevice> devices;
  std::vector<ModelSpec> models;
  std::vector<ApplicationSpec> applications;
  // Model name -> names of devices that serve it; models without an entry run on every device.
  std::vector<std::pair<std::string, std::vector<std::string>>> placement;
  Profile profile;  // missing entries are measured briefly at start
  std::unique_ptr<DispatchPolicy> policy;
  std::uint32_t max_waiting = 1024;
  // Runs predicted to be shorter are executed by the thread that brought the event.
  Duration inline_below{0};
  // Asked once when the engine's configuration is complete; may return nullptr. Outlives the node.
  std::function<EventObserver*(const EngineConfig&)> make_observer;
};

// One node in real time: the monitor around the engine, with executors, timer and payloads.
// Threading: all methods from any thread.
class Node {
 public:
  // Loads every variant on its devices, warms it up, measures what the profile lacks, starts the
  // threads. All faults of all models are listed in the error.
  static Result<std::unique_ptr<Node>> Start(NodeOptions options);
  virtual ~Node() = default;

  // nullptr when there is none. version < 0: the highest.
  virtual std::shared_ptr<const ServedModel> FindModel(std::string_view name,
                                                       std::int64_t version) const = 0;
  // By name, then version.
  virtual std::vector<std::shared_ptr<const ServedModel>> Models() const = 0;
  // kNoIndex when there is none of this name for this model.
  virtual ApplicationIndex FindApplication(std::string_view name,
                                           const ServedModel& model) const = 0;

  // Takes the request's arrival time now. The handle is answered exactly once, maybe before Submit
  // returns. The id is for Cancel.
  virtual RequestId Submit(InferRequest request, ResponseHandle response) = 0;
  // The client went away. A waiting request ends at once, a running one when its batch does.
  virtual void Cancel(RequestId id) = 0;

  // Refuses new requests from now on; requests in the node are still served.
  virtual void Drain() = 0;
  // Requests that have no answer yet.
  virtual std::size_t LiveRequests() const = 0;

  virtual EngineStats Stats() const = 0;
  virtual const EngineConfig& config() const = 0;
  virtual TimePoint Now() const = 0;
};

}  // namespace duly
