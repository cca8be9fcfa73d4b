// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fault.h"
#include "engine/event_observer.h"
#include "policy/interface/policy_factory.h"
#include "sim/changes.h"
#include "sim/device_meter.h"
#include "sim/scenario.h"
#include "sim/simulator.h"
#include "sim/tally.h"

namespace duly::sim {

// What a device did during the measured time.
struct DeviceUse {
  std::string node;
  std::string name;
  double utilization = 0;  // of the most work that it can do
  std::uint64_t batches = 0;
  std::uint64_t rows = 0;
  std::uint64_t switches = 0;
  std::optional<double> energy_j;
  // Of a device that gets warm: the highest temperature of the run, and for how long its clock was
  // kept below what was asked for.
  std::optional<double> peak_c;
  double throttled_s = 0;
};

// A scenario put together, to be run once.
class ScenarioRun {
 public:
  // Adds faults that show only now (a model that runs nowhere, a policy that cannot be made), and
  // then returns nothing.
  static std::unique_ptr<ScenarioRun> Create(const Scenario& scenario,
                                             const PolicyFactory& make_policy, Faults& faults);

  // What the engine of a node is built from, for the header of an event log.
  const EngineConfig& config(std::size_t node) const { return simulator_.engine(node).config(); }
  // Before the first Advance(). The caller's.
  void Observe(std::size_t node, EventObserver& observer) { simulator_.Observe(node, observer); }

  // On to `until`, from the start of the run; false: all has happened.
  bool Advance(Duration until);

  // As the scenario's applications.
  const Tally& tally() const { return tally_; }
  // So far, without the warm-up; no more arrives after the scenario's duration.
  Duration measured() const;
  // That the engines handled.
  std::uint64_t events() const;
  // After the last Advance().
  std::vector<DeviceUse> devices() const;
  // The scenario's events that have come so far, in the order of their beginnings.
  std::vector<Change> changes() const {
    return changes_ == nullptr ? std::vector<Change>() : changes_->changes();
  }

 private:
  struct Assembly;
  struct Seen {  // of a device
    DeviceMeter::Reading reading;
    std::uint64_t switches = 0;
    double energy_j = 0;
    std::optional<ThermalUse> thermal;
  };
  struct Watched {
    std::size_t node = 0;
    DeviceIndex device = 0;
    std::string node_name;
    std::string device_name;
    std::unique_ptr<DeviceMeter> meter;  // none without power
    Seen before;                         // the measured time
    Seen after;
  };

  ScenarioRun(const Scenario& scenario, Assembly assembly);
  Seen See(const Watched& watched, TimePoint at) const;

  const Duration warmup_;
  const Duration end_;
  Tally tally_;
  std::unique_ptr<Changes> changes_;  // none where nothing changes
  Simulator simulator_;
  std::vector<Watched> watched_;
  Duration passed_{-1};  // the last mark
};

}  // namespace duly::sim
