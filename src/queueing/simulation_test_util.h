// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/random.h"
#include "queueing/batching.h"
#include "queueing/service_time.h"

namespace duly::queueing {

// A mean over a simulated run and the half width of its 99.9 % confidence interval, from 25 batches
// one after the other (Student's t with 24 degrees of freedom).
struct Measured {
  double value = 0;
  double half_width = 0;
};
Measured MeanOf(const std::vector<double>& observed);
// Quantile of each batch.
Measured QuantileOf(const std::vector<double>& observed, double probability);

// Of the family in service_time.h.
double Draw(const ServiceTime& service, RandomStream& stream);

// Responses by class, in order of arrival; the first tenth of the run is left out.
using Responses = std::vector<std::vector<double>>;

// One FCFS server; `service` says how long a request of a class takes behind one of another
// (Lindley's recursion).
Responses SimulateFcfs(std::span<const double> rates_per_s, int requests, std::uint64_t seed,
                       const std::function<double(int before, int now, RandomStream&)>& service);
// One queue before several servers (Kiefer and Wolfowitz).
std::vector<double> SimulateServers(const ClassLoad& load, int servers, int requests,
                                    std::uint64_t seed);

// Jobs that share one server. `speed` is given the jobs' classes (how many of each are in service)
// and says at which speed one job of a class progresses. With Order::kOneOfEachClass the requests
// of a class wait for each other, and only the first of each is in service.
enum class Order : std::uint8_t { kAllTogether, kOneOfEachClass };
Responses SimulateSharing(std::span<const ClassLoad> classes, Order order, int requests,
                          std::uint64_t seed,
                          const std::function<double(const std::vector<int>&, int)>& speed);

// A device that takes all that wait as one batch whenever it is free; responses.
std::vector<double> SimulateDynamicBatching(double rate_per_s, const BatchTime& time, int requests,
                                            std::uint64_t seed);
// Batches close when they are full or `timeout` after their first request, then wait for the
// device.
std::vector<double> SimulateFixedBatching(double rate_per_s, const BatchTime& time, int size,
                                          double timeout_s, int requests, std::uint64_t seed);
// Two FCFS servers one behind the other.
std::vector<double> SimulateTandem(double rate_per_s, const ServiceTime& first,
                                   const ServiceTime& second, int requests, std::uint64_t seed);

}  // namespace duly::queueing
