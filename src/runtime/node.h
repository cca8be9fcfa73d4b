// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
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

struct ModelVersion {
  std::string name;
  std::int64_t version = 1;
  friend auto operator<=>(const ModelVersion&, const ModelVersion&) = default;
};

// What is done first when a model is loaded that is served already.
enum class LoadOrder : std::uint8_t {
  kLoadFirst,    // the new one, which is always possible and takes the memory of both
  kUnloadFirst,  // the old one, for small memories: there is none meanwhile
};

// How long the default variant of a model's newest version takes on a device, as predicted now.
struct NodeService {
  std::string model;
  std::string device;
  Duration mean{0};                // of one row
  double cv2 = 0;                  // squared coefficient of variation
  std::uint32_t instances = 1;     // runs at once
  std::uint64_t memory_bytes = 0;  // as stated; 0 when unknown
};

// Those that left count, too: what is counted of them stays.
inline constexpr std::size_t kMaxApplications = 10'000;

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

  // Puts these versions of one model, at least one, into the place of all that are served under its
  // name: loaded, warmed up, measured, and then all at once. A request keeps the generation that it
  // found; the former ones are freed when nobody refers to them any more. After a failure, which
  // lists every fault, what was served before is served still, unless it was unloaded first.
  // Takes as long as that takes; calls are taken one after another. With kUnloadFirst the caller
  // must not refer to the model.
  virtual Status Load(std::vector<ModelSpec> versions, LoadOrder order) = 0;
  // Takes the model out of service: its requests in the node are answered, then it is freed. False:
  // there was none.
  virtual bool Unload(std::string_view name) = 0;
  // What is out of service and not freed yet.
  virtual std::vector<ModelVersion> Leaving() const = 0;

  // By device, then model.
  virtual std::vector<NodeService> Services() const = 0;
  // Declares an application of a model that is served, as if it had been in the options; requests
  // may name it at once, and models that are loaded later know it. Its index in Stats().
  // kNotFound: no such model; kAlreadyExists: the model has one of this name; kResourceExhausted:
  // there were kMaxApplications in the node's life.
  virtual Result<ApplicationIndex> AddApplication(const ApplicationSpec& spec) = 0;
  // Requests cannot name it any more. Its statistics stay, and go on when it comes back with the
  // same terms. False: there is none.
  virtual bool RemoveApplication(const std::string& name, const std::string& model) = 0;

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
  virtual TimePoint Now() const = 0;
};

}  // namespace duly
