// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"

namespace duly {

// A batch that starts on a device.
struct DeviceRun {
  std::uint32_t slot = 0;     // names the run while it lasts: no two at once
  std::uint32_t program = 0;  // what must be loaded to run it: a variant of a model
  Duration alone{0};          // with nothing beside it and nothing to load; > 0
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
  // How often a program was loaded because another one had taken its place.
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
// Source: the switches that Ibis measured on the Edge TPU; the loaded program stays over idle
// times.
struct SwitchingDevice {
  // By program: what loading it takes.
  std::vector<Duration> load;
  // By program: programs of one set are on chip together. Empty: each is a set of its own.
  std::vector<std::uint32_t> set;
};
std::unique_ptr<DeviceModel> MakeSwitchingDevice(SwitchingDevice device);

}  // namespace duly
