// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "engine/event.h"
#include "sim/device_meter.h"
#include "sim/profiled_service.h"
#include "sim/scenario.h"
#include "sim/simulator.h"
#include "sim/sources.h"
#include "sim/temperature.h"

namespace duly::sim {

// Of a device, now or at a time since when it has had no event.
DeviceMeter::Reading ReadDevice(const Simulator& simulator, std::size_t node, DeviceIndex device,
                                TimePoint at);

// One event of a scenario, and what came of it.
struct Change {
  Duration at{0};
  std::string node;
  std::string what;              // "load detector"
  std::optional<Duration> done;  // nothing: not yet, or never
};

// Of a device since the start.
struct ThermalUse {
  double peak_c = 0;
  Duration throttled{0};
};

// Carries out the events of a scenario, each of which takes its time: a model that is loaded serves
// when it has been loaded and warmed up, one that is unloaded goes when the last of what it had
// accepted is answered, a step of a clock holds after the clock's latency, an application moves
// when its model serves on the other node. Devices that get warm are looked at at the pace of their
// poll, and their clocks throttled.
class Changes final : public Script {
 public:
  struct Loadable {  // a model on a node
    GenerationLoad load;
    Duration takes{0};
  };
  struct Clocked {  // a device
    ProfiledService* service = nullptr;
    DeviceMeter* meter = nullptr;            // none without power
    std::vector<DeviceMeter::Power> powers;  // by step
  };
  struct Moving {  // an application
    RoutedSource* source = nullptr;
    GenerationIndex generation = 0;
    std::vector<RoutedSource::Target> targets;  // by node
  };
  // What `devices` and `applications` point to is the caller's.
  Changes(Scenario scenario, std::vector<std::vector<Loadable>> models,
          std::vector<std::vector<Clocked>> devices, std::vector<Moving> applications);

  TimePoint NextTime() const override;
  void Act(TimePoint now, Simulator& simulator) override;
  void OnUnloaded(TimePoint now, std::uint32_t node, GenerationIndex generation) override;

  // Nothing: it does not get warm.
  std::optional<ThermalUse> thermal(std::size_t node, DeviceIndex device) const;
  // Of the scenario's events that have come.
  const std::vector<Change>& changes() const { return changes_; }

 private:
  static constexpr std::size_t kNoEvent = static_cast<std::size_t>(-1);

  struct Due {
    enum class Kind : std::uint8_t {
      kAbsent,
      kEvent,
      kLoaded,
      kClockHolds,
      kPoll
    } kind = Kind::kEvent;
    TimePoint when{};
    std::uint64_t order = 0;
    std::size_t event = kNoEvent;  // kEvent; kClockHolds: that which led to it
    std::uint32_t node = 0;        // kAbsent, kLoaded, kClockHolds
    std::uint32_t index = 0;       // of the model or the device
    std::size_t step = 0;          // kClockHolds
    bool operator>(const Due& other) const {
      return std::pair(when, order) > std::pair(other.when, other.order);
    }
  };
  void Push(Due due);
  void Begin(TimePoint now, std::size_t event, Simulator& simulator);
  // Makes the clock tend to what is asked for and allowed.
  void SetClock(TimePoint now, std::uint32_t node, std::uint32_t device, std::size_t event);
  void Poll(TimePoint now, std::uint32_t node, std::uint32_t device, const Simulator& simulator);
  void AwaitLoad(TimePoint now, std::size_t event, std::uint32_t node, std::uint32_t model);
  // Its model serves.
  void Complete(TimePoint now, std::size_t event);
  void Done(TimePoint now, std::size_t event);

  const Scenario scenario_;
  const std::vector<std::vector<Loadable>> models_;  // [node][model]
  const std::vector<std::vector<Clocked>> devices_;  // [node][device]
  const std::vector<Moving> applications_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::uint64_t pushed_ = 0;
  struct ModelState {
    std::size_t unloading = kNoEvent;  // by this event
    bool loading = false;
    std::vector<std::size_t> awaited_by;  // events
  };
  std::vector<std::vector<ModelState>> states_;  // [node][model]
  struct Warm {
    Temperature temperature;
    TimePoint polled{};
    double energy_j = 0;
    ThermalUse use;
  };
  struct ClockState {
    std::size_t asked = 0;    // by the scenario
    std::size_t allowed = 0;  // by the temperature
    std::size_t wanted = 0;   // the least of both, which holds once the clock has changed
    std::optional<Warm> warm;
  };
  std::vector<std::vector<ClockState>> clocks_;  // [node][device]
  std::vector<Change> changes_;
  std::vector<std::size_t> change_of_;  // by event
};

}  // namespace duly::sim
