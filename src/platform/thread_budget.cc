// SPDX-License-Identifier: Apache-2.0
#include "platform/thread_budget.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <string>

namespace duly {
namespace {

bool UsesCpu(const DeviceSpec& device) { return device.kind == DeviceKind::kCpu || device.compute; }

std::uint64_t Threads(const DeviceSpec& device) {
  return std::uint64_t{device.slots} * device.threads_per_slot;
}

class Settling {
 public:
  Settling(std::vector<DeviceSpec>& devices, const CpuBudget& budget)
      : devices_(devices), budget_(budget) {}

  Status Run() {
    for (DeviceSpec& device : devices_) {
      if (!UsesCpu(device)) {
        device.slots = std::max(device.slots, 1u);
        continue;
      }
      device.threads_per_slot = std::max(device.threads_per_slot, 1u);
      SettleNamedCores(device);
    }
    ShareTheRest();
    if (faults_.empty()) CheckTotal();
    if (faults_.empty()) PinTheOthers();
    if (faults_.empty()) return Status();
    return Status(StatusCode::kInvalidArgument, fmt::format("{}", fmt::join(faults_, "\n")));
  }

 private:
  void SettleNamedCores(DeviceSpec& device) {
    if (device.cores.empty()) return;
    for (std::uint32_t core : device.cores) {
      if (!std::binary_search(budget_.cores.begin(), budget_.cores.end(), core)) {
        faults_.push_back(
            fmt::format("device '{}': core {} is not there for this process: expected "
                        "some of {}",
                        device.name, core, fmt::join(budget_.cores, ", ")));
      }
      if (!named_.insert(core).second) {
        faults_.push_back(fmt::format(
            "device '{}': core {} is named twice: expected each core once", device.name, core));
      }
    }
    const std::size_t cores = device.cores.size();
    if (device.slots == 0 && device.kind == DeviceKind::kCpu) {
      device.slots = static_cast<std::uint32_t>(cores / device.threads_per_slot);
    }
    device.slots = std::max(device.slots, 1u);
    if (Threads(device) <= cores) return;
    faults_.push_back(
        fmt::format("device '{}': {} slots of {} threads: expected no more threads "
                    "than its {} cores",
                    device.name, device.slots, device.threads_per_slot, cores));
  }

  void ShareTheRest() {
    std::uint64_t used = 0;
    std::uint64_t sharing = 0;
    for (DeviceSpec& device : devices_) {
      if (!UsesCpu(device)) continue;
      if (device.kind == DeviceKind::kEmulated) device.slots = std::max(device.slots, 1u);
      used += Threads(device);
      if (device.slots == 0) ++sharing;
    }
    std::uint64_t left = budget_.threads() > used ? budget_.threads() - used : 0;
    for (DeviceSpec& device : devices_) {
      if (!UsesCpu(device) || device.slots > 0) continue;
      const std::uint64_t share = (left + sharing - 1) / sharing;
      left -= share;
      --sharing;
      device.slots = static_cast<std::uint32_t>(share / device.threads_per_slot);
      if (device.slots > 0) continue;
      faults_.push_back(
          fmt::format("device '{}': {} of the {} cores that this process may use are "
                      "left for it: expected {} for its threads",
                      device.name, share, budget_.threads(), device.threads_per_slot));
    }
  }

  void CheckTotal() {
    std::uint64_t total = 0;
    std::vector<std::string> parts;
    for (const DeviceSpec& device : devices_) {
      if (!UsesCpu(device)) continue;
      total += Threads(device);
      parts.push_back(
          fmt::format("'{}' {} x {}", device.name, device.slots, device.threads_per_slot));
    }
    if (total <= budget_.threads()) return;
    std::string limit = fmt::format("{} cores", budget_.cores.size());
    if (budget_.quota) limit += fmt::format(", a quota of {:.4g}", *budget_.quota);
    faults_.push_back(
        fmt::format("devices have {} threads runnable at once ({}): expected at most "
                    "{}, as this process may use ({})",
                    total, fmt::join(parts, ", "), budget_.threads(), limit));
  }

  void PinTheOthers() {
    if (named_.empty()) return;
    std::vector<std::uint32_t> free;
    std::copy_if(budget_.cores.begin(), budget_.cores.end(), std::back_inserter(free),
                 [&](std::uint32_t core) { return !named_.contains(core); });
    std::uint64_t threads = 0;
    for (DeviceSpec& device : devices_) {
      if (!UsesCpu(device) || !device.cores.empty()) continue;
      threads += Threads(device);
      device.cores = free;
    }
    if (threads <= free.size()) return;
    faults_.push_back(
        fmt::format("devices without cores have {} threads: expected at most {}, as "
                    "the other devices leave cores",
                    threads, free.size()));
  }

  std::vector<DeviceSpec>& devices_;
  const CpuBudget& budget_;
  std::set<std::uint32_t> named_;
  std::vector<std::string> faults_;
};

}  // namespace

Status CheckThreadBudget(std::vector<DeviceSpec>& devices, const CpuBudget& budget) {
  return Settling(devices, budget).Run();
}

}  // namespace duly
