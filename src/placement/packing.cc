// SPDX-License-Identifier: Apache-2.0
//
// Duly's own placement. What is to be had from a cluster that is too small is a number of
// applications whose promises hold; so cheap ones come first, and what blocks many is thrown out.
//
// 1. Construct. Applications by ascending cost (the greater of the shares of utilization and memory
//    that they take of the device that suits them best). Each goes where it adds the least: rise of
//    utilization, the others' swaps included, plus memory, as shares of the device; the fuller one
//    of equals.
// 2. Chains. An application that is out throws one out of a device, if that one finds a place
//    elsewhere, or throws out another in turn (depth 2).
// 3. Repack. Two devices are emptied and packed again from what they held and what is out, in an
//    order of cost with chance mixed in (swaps, moves and exchanges at once); kept unless worse.
// 4. Confirm. Devices near a bound are judged exactly; what breaks it goes, and everything that is
//    out is tried once more.
// Every try of an application on a device counts against the effort, in steps 2 and 3.
#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "base/random.h"
#include "placement/searches.h"

namespace duly::placement {
namespace {

// Devices that are looked at closely for one application: enough for a good one, and few enough
// for clusters of a thousand.
constexpr int kLook = 48;
// A device that refused this many in a row is left alone while constructing.
constexpr int kMisses = 12;
// For one application and depth.
constexpr std::uint64_t kChainTries = 2000;

class Packing {
 public:
  Packing(Placement& placement, const Effort& effort)
      : placement_(placement), effort_(effort), chance_(1, "placement") {
    const std::vector<double> room = MeanRoom();
    for (int a = 0; a < static_cast<int>(placement.applications().size()); ++a) {
      by_cost_.push_back(a);
      cost_.push_back(CostOf(a, room));
    }
    std::stable_sort(by_cost_.begin(), by_cost_.end(),
                     [&](int x, int y) { return Cost(x) < Cost(y); });
  }

  void Run() {
    Construct();
    tries_left_ = effort_.tries;
    for (const int a : Outside()) {
      if (tries_left_ < effort_.tries / 3 * 2) break;
      for (int depth = 1; depth <= 2 && placement_.device_of(a) == kNowhere; ++depth) {
        chain_ends_ = tries_left_ - std::min(tries_left_, kChainTries);
        Chain(a, depth, kNowhere);
      }
    }
    RepackPairs();
    Confirm();
  }

 private:
  double Cost(int application) const { return cost_[static_cast<std::size_t>(application)]; }
  const Application& App(int application) const {
    return placement_.applications()[static_cast<std::size_t>(application)];
  }
  double RoomOf(int device) const {
    return static_cast<double>(placement_.memory_limit(placement_.site(device).node));
  }

  double CostOf(int application, const std::vector<double>& room) const {
    const Application& wanted = App(application);
    const Cluster& cluster = placement_.cluster();
    const Model& model = cluster.models[static_cast<std::size_t>(wanted.model)];
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t t = 0; t < cluster.types.size(); ++t) {
      if (!model.on[t] || room[t] <= 0) continue;
      const double load =
          wanted.rate_per_s * model.on[t]->service.mean_s / CapacityOf(cluster.types[t].device);
      const double memory =
          static_cast<double>(wanted.memory_bytes + model.on[t]->memory_bytes) / room[t];
      least = std::min(least, std::max(load, memory));
    }
    return least;
  }

  // Memory of a node for each of its devices, on the mean by type.
  std::vector<double> MeanRoom() const {
    const Cluster& cluster = placement_.cluster();
    std::vector<double> room(cluster.types.size());
    std::vector<double> devices(cluster.types.size());
    for (const Node& node : cluster.nodes) {
      for (const Node::Device& device : node.devices) {
        const auto t = static_cast<std::size_t>(device.type);
        room[t] +=
            static_cast<double>(node.memory_bytes) / static_cast<double>(node.devices.size());
        ++devices[t];
      }
    }
    for (std::size_t t = 0; t < room.size(); ++t) room[t] /= std::max(1.0, devices[t]);
    return room;
  }

  std::vector<int> Outside() const {
    std::vector<int> outside;
    for (const int a : by_cost_) {
      if (placement_.device_of(a) == kNowhere) outside.push_back(a);
    }
    return outside;
  }

  bool Try(int application, int device) {
    if (tries_left_ > 0) --tries_left_;
    return placement_.TryAdd(application, device).ok();
  }

  // What the application adds to the device, less for fuller ones; nothing where it does not fit.
  double AddedBy(int application, int device) {
    const double before = placement_.utilization(device);
    const double memory = static_cast<double>(placement_.MemoryFor(application, device));
    if (!Try(application, device)) return std::numeric_limits<double>::infinity();
    const double after = placement_.utilization(device);
    placement_.Remove(application);
    return (after - before) / placement_.rules().limits.utilization + memory / RoomOf(device) -
           1e-6 * before;
  }

  bool Supports(int application, int device) const {
    return placement_.Needs(application, device) != nullptr;
  }

  // Puts it on the device among these to which it adds least.
  bool PlaceBest(int application, const std::vector<int>& devices) {
    int best = kNowhere;
    double least = std::numeric_limits<double>::infinity();
    for (const int d : devices) {
      if (!Supports(application, d)) continue;
      const double added = AddedBy(application, d);
      if (added >= least) continue;
      best = d;
      least = added;
    }
    if (best != kNowhere) placement_.Add(application, best);
    return best != kNowhere;
  }

  void Construct() {
    const Cluster& cluster = placement_.cluster();
    // Of the devices that are empty, one of each kind stands for all.
    std::map<std::tuple<int, std::uint64_t, double, std::size_t>, std::vector<int>> empty;
    for (int d = placement_.devices() - 1; d >= 0; --d) {
      const Node& node = cluster.nodes[static_cast<std::size_t>(placement_.site(d).node)];
      // A node of several devices is like no other: their memory is common.
      const std::size_t own = node.devices.size() > 1 ? static_cast<std::size_t>(d) + 1 : 0;
      empty[{placement_.site(d).type, node.memory_bytes, node.overhead_s, own}].push_back(d);
    }
    std::vector<std::vector<int>> open(cluster.types.size());
    std::vector<int> misses(static_cast<std::size_t>(placement_.devices()));
    std::vector<int> look;
    for (const int a : by_cost_) {
      look.clear();
      // The last opened first; of those that have the model already and of the others half each.
      for (std::size_t t = 0; t < open.size(); ++t) {
        if (!cluster.models[static_cast<std::size_t>(App(a).model)].on[t]) continue;
        int same = 0;
        int others = 0;
        for (std::size_t i = open[t].size(); i-- > 0 && same + others < kLook;) {
          int& seen = placement_.HasBackend(open[t][i], a) ? same : others;
          if (seen >= kLook / 2) continue;
          ++seen;
          look.push_back(open[t][i]);
        }
      }
      for (const auto& [kind, devices] : empty) {
        if (!devices.empty()) look.push_back(devices.back());
      }
      const bool placed = PlaceBest(a, look);
      const int device = placement_.device_of(a);
      if (placed && placement_.on(device).size() == 1) {
        for (auto& [kind, devices] : empty) {
          if (!devices.empty() && devices.back() == device) devices.pop_back();
        }
        open[static_cast<std::size_t>(placement_.site(device).type)].push_back(device);
      }
      if (placed) continue;
      for (const int d : look) {
        if (!Supports(a, d) || ++misses[static_cast<std::size_t>(d)] < kMisses) continue;
        std::erase(open[static_cast<std::size_t>(placement_.site(d).type)], d);
      }
    }
  }

  // Some devices that run the application, from a place that changes with every call.
  std::vector<int> Sample(int application) {
    std::vector<int> sample;
    const int devices = placement_.devices();
    const int first = static_cast<int>(chance_.Below(static_cast<std::uint64_t>(devices)));
    for (int i = 0; i < devices && static_cast<int>(sample.size()) < kLook; ++i) {
      const int d = (first + i) % devices;
      if (Supports(application, d)) sample.push_back(d);
    }
    return sample;
  }

  // Places it, by throwing out at most `depth` others one after another, each of which finds a
  // place; `avoid` is where it was thrown out.
  bool Chain(int application, int depth, int avoid) {
    const std::vector<int> devices = Sample(application);
    for (const int d : devices) {
      if (tries_left_ <= chain_ends_) return false;
      if (d != avoid && Try(application, d)) return true;
    }
    if (depth == 0) return false;
    for (const int d : devices) {
      if (d == avoid) continue;
      const std::vector<int> there(placement_.on(d).begin(), placement_.on(d).end());
      for (const int other : there) {
        if (tries_left_ <= chain_ends_) return false;
        placement_.Remove(other);
        if (Try(application, d)) {
          if (Chain(other, depth - 1, d)) return true;
          placement_.Remove(application);
        }
        placement_.Add(other, d);
      }
    }
    return false;
  }

  double FullnessOf(int device) const {
    const int node = placement_.site(device).node;
    return placement_.utilization(device) / placement_.rules().limits.utilization +
           static_cast<double>(placement_.memory_used(node)) / RoomOf(device);
  }

  void RepackPairs() {
    const auto devices = static_cast<std::uint64_t>(placement_.devices());
    constexpr std::size_t kCheap = 24;
    constexpr std::uint64_t kMore = 8;
    std::vector<int> outside = Outside();
    std::vector<std::pair<double, int>> pool;
    while (tries_left_ > 0 && !outside.empty()) {
      --tries_left_;  // ends even where nothing can be tried
      std::vector<int> pair{static_cast<int>(chance_.Below(devices))};
      const int other = static_cast<int>(chance_.Below(devices));
      if (other != pair[0]) pair.push_back(other);
      std::vector<std::pair<int, int>> before;
      double full = 0;
      for (const int d : pair) {
        for (const int a : placement_.on(d)) before.emplace_back(a, d);
        full += FullnessOf(d);
      }
      pool.clear();
      const auto add = [&](int a) {
        const double factor = 0.5 + chance_.Uniform();
        pool.emplace_back(Cost(a) * factor, a);
      };
      for (const auto& [a, d] : before) add(a);
      for (std::size_t i = 0; i < std::min(kCheap, outside.size()); ++i) add(outside[i]);
      for (std::uint64_t i = 0; i < kMore && outside.size() > kCheap; ++i) {
        const std::uint64_t more = chance_.Below(outside.size() - kCheap);
        const int a = outside[kCheap + more];
        const bool again = std::any_of(pool.begin(), pool.end(),
                                       [a](const auto& item) { return item.second == a; });
        if (!again) add(a);
      }
      std::sort(pool.begin(), pool.end());
      for (const auto& [a, d] : before) placement_.Remove(a);
      for (const auto& [cost, a] : pool) PlaceBest(a, pair);
      std::size_t hosted = 0;
      double fuller = 0;
      for (const int d : pair) {
        hosted += placement_.on(d).size();
        fuller += FullnessOf(d);
      }
      if (hosted < before.size() || (hosted == before.size() && fuller > full)) {
        for (const int d : pair) {
          while (!placement_.on(d).empty()) placement_.Remove(placement_.on(d).back());
        }
        for (const auto& [a, d] : before) placement_.Add(a, d);
      } else {
        outside = Outside();
      }
    }
  }

  void Confirm() {
    placement_.ConfirmExactly(effort_.exact_checks);
    for (int d = 0; d < placement_.devices(); ++d) {
      while (!placement_.Standing(d).ok()) {
        const auto costliest = std::max_element(placement_.on(d).begin(), placement_.on(d).end(),
                                                [&](int x, int y) { return Cost(x) < Cost(y); });
        placement_.Remove(*costliest);
      }
    }
    for (const int a : Outside()) {
      for (const int d : Sample(a)) {
        if (placement_.TryAdd(a, d).ok()) break;
      }
    }
  }

  Placement& placement_;
  const Effort effort_;
  std::uint64_t tries_left_ = 0;
  std::uint64_t chain_ends_ = 0;
  RandomStream chance_;
  std::vector<double> cost_;
  std::vector<int> by_cost_;
};

}  // namespace

Optimality Pack(Placement& placement, const Effort& effort) {
  if (placement.devices() > 0) Packing(placement, effort).Run();
  return Optimality::kUnknown;
}

}  // namespace duly::placement
