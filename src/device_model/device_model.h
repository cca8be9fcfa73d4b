// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "model/device_behaviour.h"

namespace duly {

// What must be on chip to run a variant of a model.
struct OnChip {
  std::uint32_t set = 0;  // those of one set are there together
  Duration load{0};       // what bringing it there takes
};

// A batch that starts on a device.
struct DeviceRun {
  std::uint32_t slot = 0;  // names the run while it lasts: no two at once
  Duration alone{0};       // with nothing beside it and nothing to load; > 0
  OnChip on_chip = {};
};

// When the runs of one device end. Times do not go back.
class DeviceModel {
 public:
  virtual ~DeviceModel() = default;
  virtual void Start(TimePoint now, const DeviceRun& run) = 0;
  // Of the run that ends first if nothing else starts; kNever when nothing runs.
  virtual TimePoint NextEnd() const = 0;
  // That run has ended, at NextEnd(): its slot. Something runs.
  virtual std::uint32_t End() = 0;
  // Seconds of full work until `now`: what it did, loading included, over the most that it can do
  // in a second. Its increase over a time is the device's utilisation in that time.
  virtual double FullWorkSeconds(TimePoint now) const = 0;
  // How often something was brought on chip because something else had taken its place.
  virtual std::uint64_t switches() const { return 0; }
};

// Processor sharing: with n runs the device does total_speed[n - 1] seconds of work a second (the
// last entry for more), in equal shares. total_speed: not empty, > 0, and no share above 1.
// Work is kept in doubles and ends are rounded up to the next nanosecond.
std::unique_ptr<DeviceModel> MakeSharedDevice(std::vector<double> total_speed);

// total_speed of runs that do not slow each other down, up to `slots`.
std::vector<double> IndependentSpeed(std::uint32_t slots);
// Of runs of `threads` threads each on `cores` cores: work-conserving, so that beyond the cores the
// total stays. threads <= cores.
std::vector<double> CoreSpeed(std::uint32_t cores, std::uint32_t threads, std::uint32_t slots);

// An accelerator that keeps the weights of one program, or of one set of programs that were
// compiled together, on chip: a run whose program is not there loads it first.
// The first run of all loads, too. One run at a time.
// Source: the switches that Ibis measured on the Edge TPU; what is there stays over idle times.
std::unique_ptr<DeviceModel> MakeSwitchingDevice();

// Its slots are known.
std::unique_ptr<DeviceModel> MakeDeviceModel(const DeviceBehaviour& device);

// Which set each variant of a model belongs to on a device: that of the models that its model is
// compiled with, or one of its own.
class OnChipSets {
 public:
  explicit OnChipSets(const DeviceBehaviour& device) : device_(device) {}
  // The same for the same names.
  OnChip Of(const std::string& model, const std::string& variant);

 private:
  const DeviceBehaviour device_;
  std::map<std::pair<std::string, std::string>, std::uint32_t> own_;  // by model and variant
};

}  // namespace duly
