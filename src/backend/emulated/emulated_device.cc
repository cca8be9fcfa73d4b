// SPDX-License-Identifier: Apache-2.0
#include "backend/emulated/emulated_device.h"

#include <algorithm>
#include <chrono>

#include "backend/common/monotonic.h"
#include "base/check.h"

namespace duly {
namespace {

DeviceBehaviour Settled(const DeviceSpec& device) {
  DeviceBehaviour behaviour = device.behaviour;
  behaviour.slots = device.slots;
  return behaviour;
}

}  // namespace

EmulatedDevice::EmulatedDevice(const DeviceSpec& device)
    : sets_(device.behaviour),
      model_(MakeDeviceModel(Settled(device))),
      noise_(device.behaviour, device.seed, device.name),
      running_(device.slots) {
  DULY_CHECK(device.slots > 0);
  for (std::uint32_t slot = device.slots; slot > 0; --slot) free_.push_back(slot - 1);
}

TimePoint EmulatedDevice::Now() { return TimePoint(MonotonicNow()); }

EmulatedDevice::Run EmulatedDevice::Start(double mean_ns, const OnChip& on_chip) {
  const MutexLock lock(mutex_);
  while (free_.empty()) changed_.wait(mutex_);
  Run run;
  run.slot = free_.back();
  free_.pop_back();
  running_[run.slot] = true;
  run.noise = noise_.Next();
  const TimePoint now = Now();
  Progress(now);
  const Duration alone(static_cast<std::int64_t>(mean_ns * run.noise.factor));
  model_->Start(now, {run.slot, std::max(alone, Duration(1)), on_chip});
  // The ends that others wait for have moved.
  changed_.notify_all();
  return run;
}

void EmulatedDevice::AwaitEnd(const Run& run) {
  AskForExactTimers();
  const MutexLock lock(mutex_);
  for (Progress(Now()); running_[run.slot]; Progress(Now())) {
    const std::chrono::steady_clock::time_point end(model_->NextEnd().time_since_epoch());
    changed_.wait_until(mutex_, end);
  }
  free_.push_back(run.slot);
  changed_.notify_all();
}

void EmulatedDevice::Progress(TimePoint now) {
  while (model_->NextEnd() <= now) running_[model_->End()] = false;
}

}  // namespace duly
