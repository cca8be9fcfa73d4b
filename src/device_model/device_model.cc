// SPDX-License-Identifier: Apache-2.0
#include "device_model/device_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"

namespace duly {
namespace {

class SharedDevice final : public DeviceModel {
 public:
  explicit SharedDevice(std::vector<double> total_speed) : total_speed_(std::move(total_speed)) {
    DULY_CHECK(!total_speed_.empty());
    for (std::size_t i = 0; i < total_speed_.size(); ++i) {
      DULY_CHECK(total_speed_[i] > 0 && total_speed_[i] <= static_cast<double>(i + 1));
    }
  }

  void Start(TimePoint now, const DeviceRun& run) override {
    DULY_CHECK(run.alone > Duration(0));
    Progress(now);
    runs_.push_back({run.slot, static_cast<double>(run.alone.count())});
    Plan();
  }

  TimePoint NextEnd() const override { return next_end_; }

  double FullWorkSeconds(TimePoint now) const override {
    const double since_ns = runs_.empty() ? 0 : static_cast<double>((now - last_).count());
    const double speed = runs_.empty() ? 0 : Share() * static_cast<double>(runs_.size());
    return (work_ns_ + since_ns * speed) / total_speed_.back() * 1e-9;
  }

  std::uint32_t End() override {
    DULY_CHECK(!runs_.empty());
    const std::uint32_t slot = runs_[next_].slot;
    Progress(next_end_);
    runs_.erase(runs_.begin() + static_cast<std::ptrdiff_t>(next_));
    Plan();
    return slot;
  }

 private:
  struct Run {
    std::uint32_t slot;
    double left_ns;  // of work
  };

  double Share() const {
    return total_speed_[std::min(runs_.size(), total_speed_.size()) - 1] /
           static_cast<double>(runs_.size());
  }

  void Progress(TimePoint now) {
    DULY_CHECK(now >= last_);
    if (!runs_.empty()) {
      const double done_ns = static_cast<double>((now - last_).count()) * Share();
      for (Run& run : runs_) run.left_ns = std::max(0.0, run.left_ns - done_ns);
      work_ns_ += done_ns * static_cast<double>(runs_.size());
    }
    last_ = now;
  }

  // Of several that end at once, the one that started first.
  void Plan() {
    next_end_ = kNever;
    if (runs_.empty()) return;
    next_ = 0;
    for (std::size_t i = 1; i < runs_.size(); ++i) {
      if (runs_[i].left_ns < runs_[next_].left_ns) next_ = i;
    }
    const double wait_ns = std::ceil(runs_[next_].left_ns / Share());
    next_end_ = SaturatingAdd(last_, Duration(static_cast<std::int64_t>(wait_ns)));
  }

  const std::vector<double> total_speed_;
  std::vector<Run> runs_;  // in the order of their starts
  std::size_t next_ = 0;
  double work_ns_ = 0;
  TimePoint last_{};
  TimePoint next_end_ = kNever;
};

class OnChipDevice final : public DeviceModel {
 public:
  void Start(TimePoint now, const DeviceRun& run) override {
    DULY_CHECK(next_end_ == kNever && run.on_chip.set != kNothing);
    Duration service = run.alone;
    if (run.on_chip.set != on_chip_) {
      service += run.on_chip.load;
      if (on_chip_ != kNothing) ++switches_;
      on_chip_ = run.on_chip.set;
    }
    slot_ = run.slot;
    started_ = now;
    next_end_ = now + service;
  }

  double FullWorkSeconds(TimePoint now) const override {
    return ToSeconds(busy_ + (next_end_ == kNever ? Duration(0) : now - started_));
  }

  TimePoint NextEnd() const override { return next_end_; }

  std::uint32_t End() override {
    DULY_CHECK(next_end_ != kNever);
    busy_ += next_end_ - started_;
    next_end_ = kNever;
    return slot_;
  }

  std::uint64_t switches() const override { return switches_; }

 private:
  static constexpr std::uint32_t kNothing = std::numeric_limits<std::uint32_t>::max();

  std::uint32_t on_chip_ = kNothing;
  std::uint32_t slot_ = 0;
  TimePoint started_{};
  TimePoint next_end_ = kNever;
  Duration busy_{0};
  std::uint64_t switches_ = 0;
};

}  // namespace

std::unique_ptr<DeviceModel> MakeSharedDevice(std::vector<double> total_speed) {
  return std::make_unique<SharedDevice>(std::move(total_speed));
}

std::vector<double> IndependentSpeed(std::uint32_t slots) {
  std::vector<double> speed;
  for (std::uint32_t n = 1; n <= slots; ++n) speed.push_back(n);
  return speed;
}

std::vector<double> CoreSpeed(std::uint32_t cores, std::uint32_t threads, std::uint32_t slots) {
  DULY_CHECK(threads > 0 && threads <= cores);
  const double most = static_cast<double>(cores) / static_cast<double>(threads);
  std::vector<double> speed = IndependentSpeed(slots);
  for (double& total : speed) total = std::min(total, most);
  return speed;
}

std::unique_ptr<DeviceModel> MakeSwitchingDevice() { return std::make_unique<OnChipDevice>(); }

std::unique_ptr<DeviceModel> MakeDeviceModel(const DeviceBehaviour& device) {
  switch (device.mechanism) {
    case DeviceMechanism::kSerial:
      return MakeSharedDevice(IndependentSpeed(device.slots));
    case DeviceMechanism::kTimeslice:
      return MakeSharedDevice({1});
    case DeviceMechanism::kConcurrent:
      return MakeSharedDevice(device.speed);
    case DeviceMechanism::kCpu:
      return MakeSharedDevice(CoreSpeed(device.cores, device.threads, device.slots));
    case DeviceMechanism::kEdgeTpu:
      break;
  }
  return MakeSwitchingDevice();
}

OnChip OnChipSets::Of(const std::string& model, const std::string& variant) {
  OnChip on_chip;
  if (const auto swap = device_.swap.find(model); swap != device_.swap.end()) {
    on_chip.load = swap->second;
  }
  for (std::uint32_t s = 0; s < device_.co_resident.size(); ++s) {
    on_chip.set = s;
    if (std::ranges::count(device_.co_resident[s], model) > 0) return on_chip;
  }
  const auto next = static_cast<std::uint32_t>(device_.co_resident.size() + own_.size());
  on_chip.set = own_.try_emplace({model, variant}, next).first->second;
  return on_chip;
}

}  // namespace duly
