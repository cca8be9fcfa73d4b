// SPDX-License-Identifier: Apache-2.0
#include "queueing/grid_test_util.h"

#include <fmt/format.h>

#include <algorithm>

#include "queueing/batching.h"
#include "queueing/edge_tpu.h"
#include "queueing/fcfs.h"
#include "queueing/sharing.h"

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

std::vector<Compared> CompareFixedBatching(double load, int size, double timeout_s, int requests,
                                           std::uint64_t seed) {
  const BatchTime time{0.004, 0.010};
  // The rate at which the device is that busy.
  double low = 1;
  double high = 1000;
  for (int i = 0; i < 50; ++i) {
    const double rate = (low + high) / 2;
    const Result<FixedBatching> at = FixedBatchingMean(rate, time, size, timeout_s);
    (at && at->utilization < load ? low : high) = rate;
  }
  return {{"mean", FixedBatchingMean(low, time, size, timeout_s)->mean_s,
           MeanOf(SimulateFixedBatching(low, time, size, timeout_s, requests, seed))}};
}

std::vector<Compared> CompareServers(double load, int servers, double cv2, int requests,
                                     std::uint64_t seed) {
  const ClassLoad work{load * servers / 0.02, {0.02, cv2}};
  const MultiServerWait wait = FcfsServers(work, servers).value();
  const std::vector<double> responses = SimulateServers(work, servers, requests, seed);
  return {{"mean", wait.mean_s + work.service.mean_s, MeanOf(responses)},
          {"p95", ResponseQuantile(wait.distribution, work.service, 0.95),
           QuantileOf(responses, 0.95)}};
}

std::vector<Compared> CompareTandem(double load, double cv2, int requests, std::uint64_t seed) {
  const ServiceTime services[] = {{0.02, cv2}, {0.025, cv2}};
  const double rate = load / services[1].mean_s;
  const Stage both = FcfsTandem(rate, services).value();
  const std::vector<double> responses =
      SimulateTandem(rate, services[0], services[1], requests, seed);
  return {{"mean", both.mean_s, MeanOf(responses)},
          {"p95", Quantile(ToServiceTime(both), 0.95), QuantileOf(responses, 0.95)}};
}

std::vector<Compared> CompareSwaps(double load, SecondMomentForm form, int requests,
                                   std::uint64_t seed) {
  std::vector<SwappedClass> classes{{3.2, {0.06295, 0}, 0.01939}, {7.1, {0.01923, 0}, 0.02463}};
  const double factor = load / WaitWithSwaps(classes, form)->utilization;
  std::vector<double> rates;
  for (SwappedClass& c : classes) rates.push_back(c.rate_per_s *= factor);
  const Responses responses =
      SimulateFcfs(rates, requests, seed, [&](int before, int now, RandomStream&) {
        const SwappedClass& c = classes[static_cast<std::size_t>(now)];
        return c.service.mean_s + (before == now ? 0 : c.swap_s);
      });
  const double wait = WaitWithSwaps(classes, form)->wait_s;
  std::vector<Compared> compared;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    compared.push_back({"mean", wait + EffectiveService(classes, i), MeanOf(responses[i])});
  }
  return compared;
}

// What Ibis takes for the wait of time slices, on the mix of all four models.
std::vector<Compared> ComparePublishedGpu(double load, int requests, std::uint64_t seed) {
  std::vector<ServedClass> classes{Class(1, kResnet18), Class(1, kGooglenet), Class(1, kResnet34),
                                   Class(1, kResnet50)};
  double whole = 0;
  for (const ServedClass& c : classes) whole += c.service.mean_s;
  std::vector<ClassLoad> loads;
  for (ServedClass& c : classes) {
    c.rate_per_s = load / whole;
    loads.push_back({c.rate_per_s, c.service});
  }
  const Responses responses =
      SimulateDevice({.mechanism = Mechanism::kSliced}, classes, requests, seed);
  const double wait = PublishedGpuWait(loads).value();
  std::vector<Compared> compared;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    compared.push_back({"mean", wait + classes[i].service.mean_s, MeanOf(responses[i])});
  }
  return compared;
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
        "time slices: " + std::move(name), sliced, std::move(mix), 0.05, 0.10, 0.08, 0.15};
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
      {"sharing: one speed", shared, constant},
      {"sharing: cv2 1", shared, {Class(10, 0.02, 1), Class(10, 0.05, 1)}},
      {"sharing: speedup to 1.8", streams, constant, 0, 0, 0.04, 0.04},
      {"sharing: speedup to 1.8, cv2 1",
       streams,
       {Class(10, 0.02, 1), Class(10, 0.05, 1)},
       0,
       0,
       0.04,
       0.04},
      {"2 servers: constant services", two, constant, 0.05, 0.10, 0.15, 0.15},
      {"4 servers: cv2 1", four, {Class(10, 0.02, 1), Class(10, 0.05, 1)}, 0.05, 0.10, 0.15, 0.15},
  };
}

std::vector<FormulaCase> FormulaCases() {
  std::vector<FormulaCase> cases;
  for (const double fixed_s : {0.0, 0.005, 0.05}) {
    cases.push_back(
        {fmt::format("all that wait as one batch: {:g} + 10 ms a request", fixed_s * 1e3), 0, 0.07,
         0, 0.07, [fixed_s](double load, int requests, std::uint64_t seed) {
           const BatchTime time{0.01, fixed_s};
           const double rate = load / time.per_request_s;
           return std::vector<Compared>{
               {"mean", DynamicBatchingMean(rate, time).value(),
                MeanOf(SimulateDynamicBatching(rate, time, requests, seed))}};
         }});
  }
  for (const int size : {2, 8}) {
    for (const double timeout_s : {0.005, 0.03, 0.3}) {
      cases.push_back({fmt::format("batches of {}, timeout {:g} ms", size, timeout_s * 1e3), 0.05,
                       0.05, 0.15, 0.15,
                       [size, timeout_s](double load, int requests, std::uint64_t seed) {
                         return CompareFixedBatching(load, size, timeout_s, requests, seed);
                       }});
    }
  }
  for (const int servers : {2, 4}) {
    for (const double cv2 : {0.0, 1.0, 4.0}) {
      const double mean = cv2 == 1 ? 0 : 1;
      cases.push_back({fmt::format("{} servers, cv2 {:g}", servers, cv2), 0.10 * mean, 0.10 * mean,
                       0.10 * mean, 0.10 * mean,
                       [servers, cv2](double load, int requests, std::uint64_t seed) {
                         return CompareServers(load, servers, cv2, requests, seed);
                       }});
    }
  }
  for (const double cv2 : {0.0, 0.25, 0.5, 1.0}) {
    cases.push_back({fmt::format("two servers in line, cv2 {:g}", cv2), 0.05, 0.05, 0.15, 0.15,
                     [cv2](double load, int requests, std::uint64_t seed) {
                       return CompareTandem(load, cv2, requests, seed);
                     }});
  }
  for (const int cores : {1, 4}) {
    const bool is_one = cores == 1;
    cases.push_back(
        {fmt::format("CPU stage as published, {} cores", cores), 0, is_one ? 0 : 1.5, 0,
         is_one ? 0 : 2.3, [cores](double load, int requests, std::uint64_t seed) {
           const ClassLoad work{load * cores / 0.02, {0.02, 1}};
           return std::vector<Compared>{
               {"mean",
                PublishedCpuStageMean(work.rate_per_s, 1 / work.service.mean_s, cores).value(),
                MeanOf(SimulateServers(work, cores, requests, seed))}};
         }});
  }
  cases.push_back({"Edge TPU as published", 0.09, 0, 0.14, 0,
                   [](double load, int requests, std::uint64_t seed) {
                     return CompareSwaps(load, SecondMomentForm::kPublished, requests, seed);
                   }});
  cases.push_back({"Edge TPU, exact second moment", 0.06, 0, 0.10, 0,
                   [](double load, int requests, std::uint64_t seed) {
                     return CompareSwaps(load, SecondMomentForm::kExact, requests, seed);
                   }});
  cases.push_back({"GPU as published", 0.15, 2, 0.15, 3.6, ComparePublishedGpu});
  return cases;
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
