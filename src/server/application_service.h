// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "model/model_spec.h"
#include "placement/admission.h"
#include "placement/hot_spots.h"
#include "runtime/node.h"
#include "server/metrics.h"

namespace duly {

struct ApplicationServiceOptions {
  // The node's, of which those with a rate count as accepted; in the order of their indices.
  std::span<const ApplicationSpec> declared;
  std::uint64_t memory_bytes = 0;  // of the node; 0: without bound
  placement::Limits limits = {};
  placement::HotSpots::Options hot_spots = {};
  Duration look_every = std::chrono::seconds(1);  // 0: only when Look() is called
};

// The applications of a node: asks before it accepts one (placement/admission.h), whether it and
// all the others keep their SLOs; watches what they measure, and says of one that has left its SLO
// for good where it could go (placement/hot_spots.h).
//
// Each device of the node counts as one that serves single rows, first come first served, as many
// at a time as the models on it have instances: what batches save comes on top of it.
//
// Threading: all methods from any thread; none is on the path of a request.
class ApplicationService {
 public:
  // Borrows the node, which is running. Says in the log which declared ones do not fit.
  ApplicationService(Node& node, const ApplicationServiceOptions& options);
  ~ApplicationService();

  // The body of POST /v2/duly/applications:
  //   {"name": "camera", "model": "efficientnet", "rate_per_s": 20, "slo_ms": 100,
  //    "percentile": 0.95, "on_miss": "refuse", "weight": 1, "memory_bytes": 0}
  // percentile (or "mean") and what follows may be left out. kInvalidArgument names the field.
  struct Answer {
    bool accepted = false;
    nlohmann::ordered_json json;  // what it will see; else "error" and what binds
  };
  Result<Answer> Admit(std::string_view body);
  // kNotFound; kInvalidArgument for a declared one.
  Status Remove(const std::string& name);
  // {"applications": [...], "devices": [...]}
  nlohmann::ordered_json List();

  // Takes the node's statistics into account, as they are now.
  void Look();
  // Of all that are accepted.
  std::vector<ApplicationHeat> Heats() const;

 private:
  struct Watched {
    std::string name;
    ApplicationIndex index = 0;
    bool is_declared = false;
    ApplicationSpec spec;
    placement::Promise slo;
    placement::HotSpots spots;
    ApplicationStats seen;   // at the last look
    ApplicationStats begin;  // of the window that is measured
    TimePoint begin_at{};
    struct Measured {
      double rate_per_s = 0;  // requests that ended
      std::uint64_t answered = 0;
      double late_share = 0;  // with those that got no answer
      double promised_s = 0;  // the percentile of the SLO, within its histogram's bucket; or mean
    };
    std::optional<Measured> measured;
    bool is_hot = false;
    std::string proposal;  // where to; while it is hot
    std::uint64_t times_hot = 0;
  };

  void Watch(ApplicationIndex index, const ApplicationSpec& spec, placement::Promise slo,
             const EngineStats& stats, bool is_declared) DULY_REQUIRES(mutex_);
  void LookAt(Watched& watched, const EngineStats& stats, TimePoint now) DULY_REQUIRES(mutex_);
  void Judge(Watched& watched) DULY_REQUIRES(mutex_);
  nlohmann::ordered_json Describe(const placement::Admission::Standing& standing) const
      DULY_REQUIRES(mutex_);
  void LookLoop(const std::stop_token& stop, Duration every);

  Node& node_;
  const std::uint64_t memory_bytes_;
  const placement::HotSpots::Options spot_options_;
  mutable Mutex mutex_;
  placement::Admission admission_ DULY_GUARDED_BY(mutex_);
  std::vector<Watched> watched_ DULY_GUARDED_BY(mutex_);
  std::condition_variable_any stopped_;
  std::jthread looker_;
};

}  // namespace duly
