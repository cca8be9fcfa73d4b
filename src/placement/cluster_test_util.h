// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "placement/cluster.h"

namespace duly::placement {

inline constexpr std::uint64_t kMiB = 1 << 20;
inline constexpr int kTpu = 0;
inline constexpr int kGpu = 1;

// Edge TPUs and time-sliced GPUs, one a node, and three models: small (both), large (both), big
// (GPU only).
inline Cluster SmallCluster(int tpus, int gpus, std::uint64_t memory = 1000 * kMiB) {
  Cluster cluster;
  cluster.types = {{"tpu", {queueing::Mechanism::kSwapping}},
                   {"gpu", {queueing::Mechanism::kSliced}}};
  const auto on = [](double service_s, double swap_s, std::uint64_t mib) {
    return ModelOnDevice{.service = {service_s, 0}, .swap_s = swap_s, .memory_bytes = mib * kMiB};
  };
  cluster.models = {{"small", {on(0.005, 0.010, 50), on(0.013, 0, 100)}},
                    {"large", {on(0.063, 0.019, 50), on(0.030, 0, 200)}},
                    {"big", {std::nullopt, on(0.085, 0, 300)}}};
  for (int n = 0; n < tpus + gpus; ++n) {
    cluster.nodes.push_back(
        {"node-" + std::to_string(n), memory, 0, {{"device", n < tpus ? kTpu : kGpu}}});
  }
  return cluster;
}

// Rates and promises by chance, all of which fit alone.
inline std::vector<Application> SomeApplications(int count, std::uint64_t seed) {
  RandomStream stream(seed, "applications");
  std::vector<Application> applications;
  for (int i = 0; i < count; ++i) {
    const int model = static_cast<int>(stream.Below(3));
    const double most = model == 0 ? 25 : model == 1 ? 7 : 4;
    const double rate = 1 + most * stream.Uniform();
    const double slo = (model == 0 ? 0.1 : model == 1 ? 0.25 : 0.5) * (1 + stream.Uniform());
    applications.push_back({"app-" + std::to_string(i), model, rate, {slo}, 20 * kMiB});
  }
  return applications;
}

}  // namespace duly::placement
