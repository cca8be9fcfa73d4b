// SPDX-License-Identifier: Apache-2.0
#include "sim/changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/units.h"

namespace duly::sim {
namespace {

using Kind = ScenarioEvent::Kind;

std::string Describe(const Scenario& scenario, const ScenarioEvent& event) {
  switch (event.kind) {
    case Kind::kLoad:
      return fmt::format("load {}", scenario.models[event.model].name);
    case Kind::kUnload:
      return fmt::format("unload {}", scenario.models[event.model].name);
    case Kind::kFrequency: {
      const ScenarioDevice& device = scenario.nodes[event.node].devices[event.device];
      return fmt::format("{} at {}", device.name, FormatFrequency(device.steps[event.step].hz));
    }
    case Kind::kMove:
      break;
  }
  return fmt::format("move {}", scenario.applications[event.application].load.spec.name);
}

}  // namespace

Changes::Changes(Scenario scenario, std::vector<std::vector<Loadable>> models,
                 std::vector<std::vector<Clocked>> devices, std::vector<Moving> applications)
    : scenario_(std::move(scenario)),
      models_(std::move(models)),
      devices_(std::move(devices)),
      applications_(std::move(applications)),
      change_of_(scenario_.events.size()) {
  for (std::uint32_t n = 0; n < scenario_.nodes.size(); ++n) {
    const ScenarioNode& node = scenario_.nodes[n];
    states_.emplace_back(models_[n].size());
    std::vector<ClockState>& clocks = clocks_.emplace_back();
    for (std::uint32_t d = 0; d < node.devices.size(); ++d) {
      const ScenarioDevice& device = node.devices[d];
      ClockState& clock = clocks.emplace_back();
      clock.asked = clock.wanted = device.step;
      clock.allowed = device.steps.empty() ? 0 : device.steps.size() - 1;
      if (!device.thermal) continue;
      const Temperature temperature(*device.thermal, device.idle_w.value_or(0));
      clock.warm = Warm{temperature, {}, 0, {temperature.celsius(), Duration(0)}};
      Due due;
      due.kind = Due::Kind::kPoll;
      due.when = TimePoint(device.thermal->poll);
      due.node = n;
      due.index = d;
      Push(due);
    }
    for (const std::uint32_t model : node.without) {
      Due due;
      due.kind = Due::Kind::kAbsent;
      due.node = n;
      due.index = model;
      Push(due);
    }
  }
  for (std::size_t e = 0; e < scenario_.events.size(); ++e) {
    Due due;
    due.when = TimePoint(scenario_.events[e].at);
    due.event = e;
    Push(due);
  }
}

TimePoint Changes::NextTime() const { return due_.empty() ? kNever : due_.top().when; }

void Changes::Push(Due due) {
  due.order = pushed_++;
  due_.push(due);
}

void Changes::Act(TimePoint now, Simulator& simulator) {
  const Due due = due_.top();
  due_.pop();
  switch (due.kind) {
    case Due::Kind::kAbsent:
      return simulator.Unload(due.node, due.index);
    case Due::Kind::kEvent:
      return Begin(now, due.event, simulator);
    case Due::Kind::kLoaded: {
      ModelState& state = states_[due.node][due.index];
      state.loading = false;
      simulator.Load(due.node, models_[due.node][due.index].load);
      for (const std::size_t event : std::exchange(state.awaited_by, {})) Complete(now, event);
      return;
    }
    case Due::Kind::kPoll:
      return Poll(now, due.node, due.index, simulator);
    case Due::Kind::kClockHolds:
      break;
  }
  // A later wish goes before.
  if (clocks_[due.node][due.index].wanted != due.step) return;
  const Clocked& device = devices_[due.node][due.index];
  if (device.meter != nullptr) {
    device.meter->Take(ReadDevice(simulator, due.node, due.index, now));
    device.meter->SetPower(device.powers[due.step]);
  }
  device.service->SetStep(due.step);
  if (due.event != kNoEvent) Done(now, due.event);
}

void Changes::Begin(TimePoint now, std::size_t event_index, Simulator& simulator) {
  const ScenarioEvent& event = scenario_.events[event_index];
  const ScenarioNode& node = scenario_.nodes[event.node];
  change_of_[event_index] = changes_.size();
  changes_.push_back({now - TimePoint(), node.name, Describe(scenario_, event), std::nullopt});
  std::uint32_t model = event.model;
  switch (event.kind) {
    case Kind::kUnload:
      if (!simulator.served().Has(event.node, model)) return;
      states_[event.node][model].unloading = event_index;
      return simulator.Unload(event.node, model);
    case Kind::kFrequency:
      clocks_[event.node][event.device].asked = event.step;
      return SetClock(now, event.node, event.device, event_index);
    case Kind::kMove:
      model = applications_[event.application].generation;
      break;
    case Kind::kLoad:
      break;
  }
  if (simulator.served().Has(event.node, model)) return Complete(now, event_index);
  AwaitLoad(now, event_index, event.node, model);
}

void Changes::SetClock(TimePoint now, std::uint32_t node, std::uint32_t device, std::size_t event) {
  ClockState& clock = clocks_[node][device];
  const std::size_t wanted = std::min(clock.asked, clock.allowed);
  if (wanted == clock.wanted && event == kNoEvent) return;
  clock.wanted = wanted;
  Due due;
  due.kind = Due::Kind::kClockHolds;
  due.when = now + scenario_.nodes[node].devices[device].clock_change;
  due.event = event;
  due.node = node;
  due.index = device;
  due.step = wanted;
  Push(due);
}

void Changes::Poll(TimePoint now, std::uint32_t node, std::uint32_t device,
                   const Simulator& simulator) {
  const ScenarioDevice& spec = scenario_.nodes[node].devices[device];
  const ThermalSpec& thermal = *spec.thermal;
  ClockState& clock = clocks_[node][device];
  Warm& warm = *clock.warm;
  const double energy_j =
      devices_[node][device].meter->EnergyJ(ReadDevice(simulator, node, device, now));
  const Duration since = now - warm.polled;
  warm.temperature.Advance(since, (energy_j - warm.energy_j) / ToSeconds(since));
  warm.energy_j = energy_j;
  warm.polled = now;
  const double celsius = warm.temperature.celsius();
  warm.use.peak_c = std::max(warm.use.peak_c, celsius);
  if (clock.wanted < clock.asked) warm.use.throttled += since;
  if (celsius >= thermal.throttle_c && clock.wanted > 0) {
    clock.allowed = clock.wanted - 1;
  } else if (celsius <= thermal.release_c && clock.allowed + 1 < spec.steps.size()) {
    ++clock.allowed;
  }
  SetClock(now, node, device, kNoEvent);
  Due due;
  due.kind = Due::Kind::kPoll;
  due.when = now + thermal.poll;
  due.node = node;
  due.index = device;
  Push(due);
}

std::optional<ThermalUse> Changes::thermal(std::size_t node, DeviceIndex device) const {
  const std::optional<Warm>& warm = clocks_[node][device].warm;
  if (!warm) return std::nullopt;
  return warm->use;
}

void Changes::AwaitLoad(TimePoint now, std::size_t event, std::uint32_t node, std::uint32_t model) {
  ModelState& state = states_[node][model];
  state.awaited_by.push_back(event);
  // While the old one is going its load begins later: OnUnloaded().
  if (state.loading || state.unloading != kNoEvent) return;
  state.loading = true;
  Due due;
  due.kind = Due::Kind::kLoaded;
  due.when = now + models_[node][model].takes;
  due.node = node;
  due.index = model;
  Push(due);
}

void Changes::Complete(TimePoint now, std::size_t event_index) {
  const ScenarioEvent& event = scenario_.events[event_index];
  if (event.kind == Kind::kMove) {
    const Moving& moving = applications_[event.application];
    moving.source->SendTo(moving.targets[event.node]);
  }
  Done(now, event_index);
}

void Changes::OnUnloaded(TimePoint now, std::uint32_t node, GenerationIndex generation) {
  ModelState& state = states_[node][generation];
  const std::size_t event = std::exchange(state.unloading, kNoEvent);
  if (event != kNoEvent) Done(now, event);
  for (const std::size_t waits : std::exchange(state.awaited_by, {})) {
    AwaitLoad(now, waits, node, generation);
  }
}

void Changes::Done(TimePoint now, std::size_t event) {
  changes_[change_of_[event]].done = now - TimePoint();
}

DeviceMeter::Reading ReadDevice(const Simulator& simulator, std::size_t node, DeviceIndex device,
                                TimePoint at) {
  const DeviceStats& stats = simulator.engine(node).stats().devices[device];
  return {at, simulator.device(node, device).FullWorkSeconds(at), stats.batches, stats.rows};
}

}  // namespace duly::sim
