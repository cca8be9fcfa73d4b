// SPDX-License-Identifier: Apache-2.0
#include "queueing/grid_test_util.h"

#include <algorithm>

namespace duly::queueing {
namespace {

ServedClass Class(double rate_per_s, double service_s, double cv2 = 0, double swap_s = 0) {
  return {.rate_per_s = rate_per_s, .service = {service_s, cv2}, .swap_s = swap_s};
}

// Lindley's recursion for several servers and classes: one queue, first come first served.
Responses SimulateQueue(const Device& device, const std::vector<ServedClass>& classes, int requests,
                        std::uint64_t seed) {
  RandomStream arrivals(seed, "arrivals");
  RandomStream kinds(seed, "kinds");
  RandomStream services(seed, "services");
  double total = 0;
  for (const ServedClass& c : classes) total += c.rate_per_s;
  std::vector<double> work(static_cast<std::size_t>(device.servers));
  Responses responses(classes.size());
  for (int n = 0; n < requests; ++n) {
    const double gap = arrivals.Exponential(1 / total);
    for (double& w : work) w = std::max(0.0, w - gap);
    double left = kinds.Uniform() * total;
    std::size_t kind = 0;
    while (kind + 1 < classes.size() && left >= classes[kind].rate_per_s) {
      left -= classes[kind++].rate_per_s;
    }
    double& first = *std::min_element(work.begin(), work.end());
    first += Draw(classes[kind].service, services);
    if (n >= requests / 10) responses[kind].push_back(first);
  }
  return responses;
}

}  // namespace

std::vector<GridCase> GridCases() {
  // Edge TPU: service and swap of the artifact (README of tests/data/ibis).
  const Device serial{.mechanism = Mechanism::kSerial};
  const Device swapping{.mechanism = Mechanism::kSwapping};
  const Device sliced{.mechanism = Mechanism::kSliced};
  const Device shared{.mechanism = Mechanism::kShared};
  const Device streams{.mechanism = Mechanism::kShared, .speedup = {1, 1.5, 1.8}};
  const Device two{.mechanism = Mechanism::kServers, .servers = 2};
  const Device four{.mechanism = Mechanism::kServers, .servers = 4};
  const std::vector<ServedClass> constant{Class(10, 0.02), Class(10, 0.05)};
  const std::vector<ServedClass> random{Class(10, 0.02, 1), Class(10, 0.05, 4)};
  const std::vector<ServedClass> nano{Class(10, kResnet18), Class(10, kGooglenet),
                                      Class(10, kResnet34), Class(10, kResnet50)};
  const auto slices = [&](std::string name, std::vector<ServedClass> mix) {
    return GridCase{
        "time slices: " + std::move(name), sliced, std::move(mix), 0.05, 0.10, 0.17, 0.22};
  };
  return {
      {"FCFS: constant services", serial, constant},
      {"FCFS: cv2 1 and 4", serial, random},
      {"Edge TPU: inception_v3, ssd_mobilenet_v2",
       swapping,
       {Class(3.2, 0.06295, 0, 0.01939), Class(7.1, 0.01923, 0, 0.02463)}},
      {"Edge TPU: five models",
       swapping,
       {Class(5, 0.00983, 0, 0.01733), Class(5, 0.01585, 0, 0.02263), Class(2, 0.04218, 0, 0.01753),
        Class(1, 0.12513, 0, 0.01943), Class(10, 0.00491, 0, 0.01043)}},
      slices("resnet18, googlenet, resnet50", {nano[0], nano[1], nano[3]}),
      slices("and resnet34", nano),
      slices("resnet50, resnet18 20/s each", {Class(20, kResnet50), Class(20, kResnet18)}),
      slices("resnet50 5/s, resnet18 40/s", {Class(5, kResnet50), Class(40, kResnet18)}),
      slices("6 x resnet18", std::vector<ServedClass>(6, Class(12, kResnet18))),
      slices("cv2 1", {Class(20, kResnet50, 1), Class(20, kResnet18, 1)}),
      slices("short and frequent, long and rare", {Class(20, kResnet18), Class(2, 0.1)}),
      {"sharing: one speed", shared, constant, 0, 0, 0.15, 0.15},
      {"sharing: cv2 1", shared, {Class(10, 0.02, 1), Class(10, 0.05, 1)}, 0, 0, 0.15, 0.15},
      {"sharing: speedup to 1.8", streams, constant, 0, 0, 0.15, 0.15},
      {"2 servers: constant services", two, constant, 0.05, 0.10, 0.15, 0.15},
      {"4 servers: cv2 1", four, {Class(10, 0.02, 1), Class(10, 0.05, 1)}, 0.05, 0.10, 0.15, 0.15},
  };
}

std::vector<ServedClass> AtLoad(const GridCase& grid_case, double load) {
  std::vector<ServedClass> classes = grid_case.mix;
  // Utilization is linear in the rates; what is overloaded is told its utilization, too.
  const double factor = load / Predict(grid_case.device, classes, {})->utilization;
  for (ServedClass& c : classes) c.rate_per_s *= factor;
  return classes;
}

Responses SimulateDevice(const Device& device, const std::vector<ServedClass>& classes,
                         int requests, std::uint64_t seed) {
  std::vector<ClassLoad> loads;
  std::vector<double> rates;
  for (const ServedClass& c : classes) {
    loads.push_back({c.rate_per_s, c.service});
    rates.push_back(c.rate_per_s);
  }
  switch (device.mechanism) {
    case Mechanism::kSerial:
    case Mechanism::kServers:
      break;
    case Mechanism::kSwapping:
      return SimulateFcfs(rates, requests, seed, [&](int before, int now, RandomStream& stream) {
        const ServedClass& c = classes[static_cast<std::size_t>(now)];
        return Draw(c.service, stream) + (before == now ? 0 : c.swap_s);
      });
    case Mechanism::kSliced:
      return SimulateSharing(loads, Order::kOneOfEachClass, requests, seed,
                             [](const std::vector<int>& active, int) {
                               int busy = 0;
                               for (const int n : active) busy += n > 0 ? 1 : 0;
                               return 1.0 / busy;
                             });
    case Mechanism::kShared:
      return SimulateSharing(loads, Order::kAllTogether, requests, seed,
                             [&](const std::vector<int>& active, int) {
                               std::size_t all = 0;
                               for (const int n : active) all += static_cast<std::size_t>(n);
                               const std::size_t at = std::min(all, device.speedup.size()) - 1;
                               return device.speedup[at] / static_cast<double>(all);
                             });
  }
  return SimulateQueue(device, classes, requests, seed);
}

}  // namespace duly::queueing
