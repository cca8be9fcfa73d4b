// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>
#include <vector>

#include "placement/searches.h"

namespace duly::placement {
namespace {

constexpr int kExactChecks = 10'000;

class Branching {
 public:
  Branching(Placement& placement, const Effort& effort)
      : placement_(placement), tries_(effort.tries) {}

  Optimality Run() {
    // A good answer first: what does not beat it is not looked at.
    Placement start = placement_;
    Pack(start, {.tries = tries_ / 10});
    Keep(start);
    placement_.ConfirmExactly(kExactChecks);
    Descend(0);
    for (const auto& [a, d] : best_) placement_.Add(a, d);
    return tries_ > 0 && placement_.exact_checks_left() > 0 ? Optimality::kProven
                                                            : Optimality::kUnknown;
  }

 private:
  int Count() const { return static_cast<int>(placement_.applications().size()); }

  void Keep(const Placement& found) {
    best_.clear();
    for (int a = 0; a < Count(); ++a) {
      if (found.device_of(a) != kNowhere) best_.emplace_back(a, found.device_of(a));
    }
  }

  // Whether two devices are the same to whatever comes.
  bool Alike(int x, int y) const {
    const Placement::Site& a = placement_.site(x);
    const Placement::Site& b = placement_.site(y);
    if (!placement_.on(x).empty() || !placement_.on(y).empty() || a.type != b.type) return false;
    const Node& one = placement_.cluster().nodes[static_cast<std::size_t>(a.node)];
    const Node& other = placement_.cluster().nodes[static_cast<std::size_t>(b.node)];
    return one.devices.size() == 1 && other.devices.size() == 1 &&
           one.memory_bytes == other.memory_bytes && one.overhead_s == other.overhead_s;
  }

  void Descend(int application) {
    if (placement_.hosted() > static_cast<int>(best_.size())) Keep(placement_);
    const int left = Count() - application;
    if (left == 0 || placement_.hosted() + left <= static_cast<int>(best_.size())) return;
    std::vector<int> tried;
    for (int d = 0; d < placement_.devices() && tries_ > 0; ++d) {
      if (std::any_of(tried.begin(), tried.end(), [&](int other) { return Alike(d, other); })) {
        continue;
      }
      tried.push_back(d);
      --tries_;
      if (!placement_.TryAdd(application, d).ok()) continue;
      Descend(application + 1);
      placement_.Remove(application);
    }
    if (tries_ > 0) Descend(application + 1);
  }

  Placement& placement_;
  std::uint64_t tries_;
  std::vector<std::pair<int, int>> best_;
};

}  // namespace

Optimality BranchAndBound(Placement& placement, const Effort& effort) {
  return Branching(placement, effort).Run();
}

}  // namespace duly::placement
