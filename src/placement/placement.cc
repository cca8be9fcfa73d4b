// SPDX-License-Identifier: Apache-2.0
#include "placement/placement.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "base/mix_hash.h"
#include "placement/exact_responses.h"

namespace duly::placement {
namespace {

// How far the estimate may be off near a bound (queueing/estimate.h): below the first share of it
// an application keeps its promise, above the second it does not.
constexpr double kSurelyBelow = 0.88;
constexpr double kSurelyAbove = 1.12;

std::uint64_t MixHash(std::uint64_t hash, double value) {
  return duly::MixHash(hash, std::bit_cast<std::uint64_t>(value));
}

}  // namespace

std::string_view ToString(Constraint constraint) {
  switch (constraint) {
    case Constraint::kNone:
      return "none";
    case Constraint::kUnsupported:
      return "unsupported";
    case Constraint::kMemory:
      return "memory";
    case Constraint::kUtilization:
      return "utilization";
    case Constraint::kLatency:
      break;
  }
  return "latency";
}

double CapacityOf(const queueing::Device& device) {
  if (device.mechanism == queueing::Mechanism::kServers) return device.servers;
  return device.mechanism == queueing::Mechanism::kShared ? device.speedup.back() : 1;
}

Placement::Placement(const Cluster& cluster, std::span<const Application> applications,
                     const Rules& rules)
    : cluster_(&cluster),
      applications_(applications),
      rules_(rules),
      memory_(cluster.nodes.size()),
      device_of_(applications.size(), kNowhere),
      estimate_(rules.latency == Rules::Latency::kPublishedMean
                    ? queueing::Estimate::Form::kPublished
                    : queueing::Estimate::Form::kOwn) {
  for (std::size_t n = 0; n < cluster.nodes.size(); ++n) {
    const Node& node = cluster.nodes[n];
    for (std::size_t d = 0; d < node.devices.size(); ++d) {
      Device& device = devices_.emplace_back();
      device.site = {static_cast<int>(n), static_cast<int>(d), node.devices[d].type};
      device.capacity = CapacityOf(Mechanism(device));
    }
  }
}

void Placement::SetApplications(std::span<const Application> applications) {
  applications_ = applications;
  device_of_.resize(applications.size(), kNowhere);
  known_.clear();  // lives as long as the cluster runs, and mixes do not come again
}

const queueing::Device& Placement::Mechanism(const Device& device) const {
  return cluster_->types[static_cast<std::size_t>(device.site.type)].device;
}

const ModelOnDevice* Placement::Needs(int application, const Device& device) const {
  const Model& model = cluster_->models[static_cast<std::size_t>(App(application).model)];
  const auto& needs = model.on[static_cast<std::size_t>(device.site.type)];
  return needs ? &*needs : nullptr;
}

std::uint64_t Placement::memory_limit(int node) const {
  const double all =
      static_cast<double>(cluster_->nodes[static_cast<std::size_t>(node)].memory_bytes);
  return static_cast<std::uint64_t>(all * rules_.limits.memory);
}

std::size_t Placement::FindBackend(const Device& device, int application) const {
  const Application& wanted = App(application);
  const int owner = wanted.own_weights ? application : kNowhere;
  std::size_t b = 0;
  while (b < device.backends.size() &&
         (device.backends[b].model != wanted.model || device.backends[b].owner != owner)) {
    ++b;
  }
  return b;
}

bool Placement::HasBackend(int device, int application) const {
  return FindBackend(At(device), application) < At(device).backends.size();
}

std::uint64_t Placement::MemoryFor(int application, int device) const {
  const std::uint64_t own = App(application).memory_bytes;
  return HasBackend(device, application) ? own : own + Needs(application, device)->memory_bytes;
}

std::vector<queueing::ServedClass> Placement::Served(int device) const {
  std::vector<queueing::ServedClass> served = At(device).classes;
  for (queueing::ServedClass& c : served) c.rate_per_s /= rules_.limits.headroom;
  return served;
}

std::size_t Placement::ServedIndex(int application) const {
  return FindBackend(At(device_of(application)), application);
}

void Placement::ConfirmExactly(int checks) {
  confirm_ = rules_.latency == Rules::Latency::kPromise;
  exact_checks_ = checks;
}

void Placement::Tighten(Backend& backend, const Promise& promise, int application) {
  for (Bound& bound : backend.tightest) {
    if (bound.promise.quantile != promise.quantile) continue;
    if (promise.bound_s < bound.promise.bound_s) bound = {promise, application};
    return;
  }
  backend.tightest.push_back({promise, application});
}

void Placement::Insert(int application, Device& device) {
  const Application& added = App(application);
  const ModelOnDevice& needs = *Needs(application, device);
  const std::size_t b = FindBackend(device, application);
  if (b == device.backends.size()) {
    device.backends.push_back({added.model, added.own_weights ? application : kNowhere, {}, {}});
    device.classes.push_back({.rate_per_s = 0,
                              .service = needs.service,
                              .swap_s = needs.swap_s,
                              .after_s = needs.after_s});
  }
  device.backends[b].applications.push_back(application);
  Tighten(device.backends[b], added.slo, application);
  device.applications.push_back(application);
  Refresh(device);
}

void Placement::Erase(int application, Device& device) {
  const std::size_t b = FindBackend(device, application);
  Backend& backend = device.backends[b];
  std::erase(backend.applications, application);
  std::erase(device.applications, application);
  if (backend.applications.empty()) {
    device.backends.erase(device.backends.begin() + static_cast<std::ptrdiff_t>(b));
    device.classes.erase(device.classes.begin() + static_cast<std::ptrdiff_t>(b));
  } else {
    backend.tightest.clear();
    for (const int other : backend.applications) Tighten(backend, App(other).slo, other);
  }
  Refresh(device);
}

// Rates are summed anew: the same mix has the same figures, however it came about.
void Placement::Refresh(Device& device) {
  device.least_load = 0;
  for (std::size_t b = 0; b < device.backends.size(); ++b) {
    double rate = 0;
    for (const int other : device.backends[b].applications) rate += App(other).rate_per_s;
    queueing::ServedClass& served = device.classes[b];
    served.rate_per_s = rate * rules_.limits.headroom;
    device.least_load += served.rate_per_s * (served.service.mean_s - served.after_s);
  }
  if (rules_.latency == Rules::Latency::kIgnored) return;
  estimate_.Update(Mechanism(device), device.classes);
  device.utilization = estimate_.utilization();
}

template <typename Response>
Placement::Nearest Placement::FindNearest(const Device& device, const Response& response) const {
  const double overhead = cluster_->nodes[static_cast<std::size_t>(device.site.node)].overhead_s;
  Nearest nearest;
  for (std::size_t b = 0; b < device.backends.size(); ++b) {
    const std::vector<Bound>& bounds = device.backends[b].tightest;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      const double response_s = response(b, bounds[i].promise.quantile);
      const double left_s = bounds[i].promise.bound_s - overhead;
      const double share =
          left_s > 0 ? response_s / left_s : std::numeric_limits<double>::infinity();
      if (share > nearest.share) nearest = {b, i, response_s, share};
    }
  }
  return nearest;
}

Verdict Placement::Latency(const Device& device) {
  const bool published = rules_.latency == Rules::Latency::kPublishedMean;
  Nearest nearest = FindNearest(device, [&](std::size_t b, double quantile) {
    return published || quantile == 0 ? estimate_.Mean(b) : estimate_.Quantile(b, quantile);
  });
  double most = 1;
  if (confirm_ && nearest.share > kSurelyBelow && nearest.share < kSurelyAbove) {
    if (known_.contains(MixOf(device)) || exact_checks_ > 0) {
      nearest = ExactNearest(device);
    } else {
      most = kSurelyBelow;
    }
  }
  if (nearest.share <= most) return {};
  const double overhead = cluster_->nodes[static_cast<std::size_t>(device.site.node)].overhead_s;
  const Bound& bound = device.backends[nearest.backend].tightest[nearest.bound];
  return {Constraint::kLatency, nearest.response_s + overhead, bound.promise.bound_s,
          bound.application};
}

std::uint64_t Placement::MixOf(const Device& device) const {
  const Node& node = cluster_->nodes[static_cast<std::size_t>(device.site.node)];
  std::uint64_t mix = MixHash(static_cast<std::uint64_t>(device.site.type), node.overhead_s);
  for (std::size_t b = 0; b < device.backends.size(); ++b) {
    mix = duly::MixHash(mix, static_cast<std::uint64_t>(device.backends[b].model));
    mix = MixHash(mix, device.classes[b].rate_per_s);
    for (const Bound& bound : device.backends[b].tightest) {
      mix = MixHash(MixHash(mix, bound.promise.bound_s), bound.promise.quantile);
    }
  }
  return mix;
}

Placement::Nearest Placement::ExactNearest(const Device& device) {
  const std::uint64_t mix = MixOf(device);
  if (const auto found = known_.find(mix); found != known_.end()) return found->second;
  --exact_checks_;
  std::vector<double> quantiles;
  for (const Backend& backend : device.backends) {
    for (const Bound& bound : backend.tightest) quantiles.push_back(bound.promise.quantile);
  }
  const std::optional<ExactResponses> exact =
      ExactResponses::Create(Mechanism(device), device.classes, std::move(quantiles));
  const Nearest nearest = FindNearest(device, [&](std::size_t b, double quantile) {
    return exact ? exact->Of(b, quantile) : std::numeric_limits<double>::infinity();
  });
  return known_.emplace(mix, nearest).first->second;
}

Verdict Placement::Standing(int device) {
  Device& at = At(device);
  const std::uint64_t limit = memory_limit(at.site.node);
  if (const std::uint64_t used = memory_used(at.site.node); used > limit) {
    return {Constraint::kMemory, static_cast<double>(used), static_cast<double>(limit)};
  }
  estimate_.Update(Mechanism(at), at.classes);
  return Judge(at);
}

Verdict Placement::Judge(const Device& device) {
  if (rules_.latency == Rules::Latency::kIgnored) return {};
  if (!estimate_.stable() || estimate_.utilization() > rules_.limits.utilization) {
    return {Constraint::kUtilization, estimate_.utilization(), rules_.limits.utilization};
  }
  return Latency(device);
}

Verdict Placement::TryAdd(int application, int device) {
  Device& at = At(device);
  const Application& added = App(application);
  const ModelOnDevice* const needs = Needs(application, device);
  if (needs == nullptr) return {Constraint::kUnsupported};
  // What is quick to see comes first.
  const std::uint64_t used = memory_used(at.site.node) + MemoryFor(application, device);
  if (const std::uint64_t limit = memory_limit(at.site.node); used > limit) {
    return {Constraint::kMemory, static_cast<double>(used), static_cast<double>(limit)};
  }
  if (rules_.latency != Rules::Latency::kIgnored) {
    const double load = at.least_load + added.rate_per_s * rules_.limits.headroom *
                                            (needs->service.mean_s - needs->after_s);
    if (load > at.capacity * rules_.limits.utilization) {
      return {Constraint::kUtilization, load / at.capacity, rules_.limits.utilization};
    }
  }
  Add(application, device);
  const Verdict verdict = Judge(at);  // the estimate is that of Add()
  if (!verdict.ok()) Remove(application);
  return verdict;
}

Verdict Placement::Check(int application, int device) {
  const Verdict verdict = TryAdd(application, device);
  if (verdict.ok()) Remove(application);
  return verdict;
}

std::optional<double> Placement::Rise(int application, int device) {
  const double before = utilization(device);
  if (!TryAdd(application, device).ok()) return std::nullopt;
  const double rise = utilization(device) - before;
  Remove(application);
  return rise;
}

void Placement::Add(int application, int device) {
  memory_[static_cast<std::size_t>(At(device).site.node)] += MemoryFor(application, device);
  Insert(application, At(device));
  device_of_[static_cast<std::size_t>(application)] = device;
  ++hosted_;
}

void Placement::Remove(int application) {
  const int device = device_of(application);
  Erase(application, At(device));
  memory_[static_cast<std::size_t>(At(device).site.node)] -= MemoryFor(application, device);
  device_of_[static_cast<std::size_t>(application)] = kNowhere;
  --hosted_;
}

}  // namespace duly::placement
