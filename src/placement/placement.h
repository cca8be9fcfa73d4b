// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "placement/cluster.h"
#include "queueing/estimate.h"

namespace duly::placement {

inline constexpr int kNowhere = -1;

// How full a node may be made. The defaults are those of Ibis.
struct Limits {
  double memory = 0.8;       // of a node's
  double utilization = 0.8;  // of a device
  // Rates are taken this many times higher before anything is checked.
  double headroom = 1;
};

// Seconds of service that a device gives a second at most.
double CapacityOf(const queueing::Device& device);

// What must hold on a device. Memory always must.
struct Rules {
  enum class Latency : std::uint8_t {
    kIgnored,        // nor is the utilization looked at
    kPublishedMean,  // the mean, by Ibis's formulas, is below the bound, whatever is promised
    kPromise,        // the promised percentile or mean of every application is within its bound
  };
  Latency latency = Latency::kPromise;
  Limits limits = {};
};

enum class Constraint : std::uint8_t {
  kNone,  // it fits
  kUnsupported,
  kMemory,
  kUtilization,
  kLatency,
};
std::string_view ToString(Constraint constraint);

// Whether an application fits on a device, and what binds if it does not.
struct Verdict {
  Constraint constraint = Constraint::kNone;
  // kMemory: bytes. kUtilization: at the rates with headroom. kLatency: seconds, overhead included.
  double value = 0;
  double bound = 0;
  int application = kNowhere;  // kLatency: whose
  bool ok() const { return constraint == Constraint::kNone; }
};

// Which application is on which device, and what each device bears with it. Devices are numbered
// over the nodes, in order. One application more or less costs O(back ends of the device), about a
// microsecond.
//
// Latency is judged by queueing::Estimate. Within its error of a bound, and after ConfirmExactly(),
// queueing::Predict() has the last word.
// Threading: one owner at a time.
class Placement {
 public:
  // One of the cluster's devices.
  struct Site {
    int node = 0;
    int index = 0;  // in the node
    int type = 0;
  };

  // Borrows both. Indices in them are valid, rates and services above 0. Nothing is placed.
  Placement(const Cluster& cluster, std::span<const Application> applications, const Rules& rules);
  // Applications come and go: borrows another list, as long as the old one at least. Those that are
  // somewhere are in it as they were, at their index.
  void SetApplications(std::span<const Application> applications);

  const Cluster& cluster() const { return *cluster_; }
  std::span<const Application> applications() const { return applications_; }
  const Rules& rules() const { return rules_; }
  int devices() const { return static_cast<int>(devices_.size()); }
  const Site& site(int device) const { return At(device).site; }

  int hosted() const { return hosted_; }
  int device_of(int application) const { return device_of_[static_cast<std::size_t>(application)]; }
  std::span<const int> on(int device) const { return At(device).applications; }
  // Null where its model does not run.
  const ModelOnDevice* Needs(int application, int device) const {
    return Needs(application, At(device));
  }
  bool HasBackend(int device, int application) const;
  // At the rates with headroom, by the estimate.
  double utilization(int device) const { return At(device).utilization; }
  std::uint64_t memory_used(int node) const { return memory_[static_cast<std::size_t>(node)]; }
  std::uint64_t memory_limit(int node) const;
  // That the application would add.
  std::uint64_t MemoryFor(int application, int device) const;
  // What runs on a device, at the declared rates, and which of it serves the application.
  std::vector<queueing::ServedClass> Served(int device) const;
  std::size_t ServedIndex(int application) const;

  // From here on, until `checks` are used up, exactly where the estimate could be wrong; afterwards
  // the estimate must stay below the bound by its error.
  void ConfirmExactly(int checks);
  int exact_checks_left() const { return exact_checks_; }
  // What binds on a device as it is, and what would with one application more.
  Verdict Standing(int device);
  Verdict Check(int application, int device);
  // What an application that fits would add to the device's utilization; nothing: it does not fit.
  std::optional<double> Rise(int application, int device);

  // Adds it if it fits. It is nowhere yet.
  Verdict TryAdd(int application, int device);
  // Whether it fits or not; it runs on the device's type.
  void Add(int application, int device);
  void Remove(int application);

 private:
  struct Bound {
    Promise promise;
    int application = kNowhere;
  };
  struct Backend {
    int model = 0;
    int owner = kNowhere;  // an application with weights of its own
    std::vector<int> applications;
    std::vector<Bound> tightest;  // for each quantile
  };
  struct Device {
    Site site;
    std::vector<int> applications;
    std::vector<Backend> backends;
    std::vector<queueing::ServedClass> classes;  // as backends
    double utilization = 0;
    double least_load = 0;  // seconds of service a second, without swaps
    double capacity = 1;    // of them
  };

  Device& At(int device) { return devices_[static_cast<std::size_t>(device)]; }
  const Device& At(int device) const { return devices_[static_cast<std::size_t>(device)]; }
  const Application& App(int application) const {
    return applications_[static_cast<std::size_t>(application)];
  }
  const queueing::Device& Mechanism(const Device& device) const;
  const ModelOnDevice* Needs(int application, const Device& device) const;
  std::size_t FindBackend(const Device& device, int application) const;
  static void Tighten(Backend& backend, const Promise& promise, int application);
  void Insert(int application, Device& device);
  void Erase(int application, Device& device);
  void Refresh(Device& device);
  // Expect the estimate to be that of the device.
  Verdict Judge(const Device& device);
  Verdict Latency(const Device& device);
  // Which bound of a device is nearest to its response, or furthest below it.
  struct Nearest {
    std::size_t backend = 0;
    std::size_t bound = 0;
    double response_s = 0;
    double share = 0;  // of what the bound leaves beside the overhead
  };
  template <typename Response>
  Nearest FindNearest(const Device& device, const Response& response) const;
  // By queueing::Predict(), remembered by mix.
  Nearest ExactNearest(const Device& device);
  std::uint64_t MixOf(const Device& device) const;

  const Cluster* cluster_;
  std::span<const Application> applications_;
  Rules rules_;
  std::vector<Device> devices_;
  std::vector<std::uint64_t> memory_;  // by node
  std::vector<int> device_of_;
  int hosted_ = 0;
  bool confirm_ = false;
  int exact_checks_ = 0;
  queueing::Estimate estimate_;
  std::unordered_map<std::uint64_t, Nearest> known_;  // by MixOf()
};

}  // namespace duly::placement
