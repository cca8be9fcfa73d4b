// SPDX-License-Identifier: Apache-2.0
#include "queueing/simulation_test_util.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

namespace duly::queueing {
namespace {

constexpr int kBatches = 25;

Measured OverBatches(const std::vector<double>& observed,
                     const std::function<double(std::vector<double>)>& figure) {
  std::vector<double> figures;
  const std::size_t size = observed.size() / kBatches;
  for (std::size_t b = 0; b < kBatches; ++b) {
    const auto begin = observed.begin() + static_cast<std::ptrdiff_t>(b * size);
    figures.push_back(figure({begin, begin + static_cast<std::ptrdiff_t>(size)}));
  }
  double mean = 0;
  for (const double f : figures) mean += f / kBatches;
  double squares = 0;
  for (const double f : figures) squares += (f - mean) * (f - mean);
  constexpr double kStudent = 3.745;
  return {mean, kStudent * std::sqrt(squares / (kBatches - 1) / kBatches)};
}

std::size_t PickClass(std::span<const double> rates, double total, RandomStream& stream) {
  double left = stream.Uniform() * total;
  for (std::size_t i = 0; i + 1 < rates.size(); ++i) {
    if (left < rates[i]) return i;
    left -= rates[i];
  }
  return rates.size() - 1;
}

double Sum(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum;
}

}  // namespace

Measured MeanOf(const std::vector<double>& observed) {
  return OverBatches(observed, [](const std::vector<double>& batch) {
    return Sum(batch) / static_cast<double>(batch.size());
  });
}

Measured QuantileOf(const std::vector<double>& observed, double probability) {
  return OverBatches(observed, [probability](std::vector<double> batch) {
    const auto at = batch.begin() +
                    static_cast<std::ptrdiff_t>(probability * static_cast<double>(batch.size()));
    std::nth_element(batch.begin(), at, batch.end());
    return *at;
  });
}

double Draw(const ServiceTime& service, RandomStream& stream) {
  const std::vector<ErlangPart> parts = ErlangParts(service);
  if (parts.empty()) {
    if (service.cv2 == 0) return service.mean_s;
    const double spread = service.mean_s * std::sqrt(service.cv2);
    return stream.Uniform() < 0.5 ? service.mean_s - spread : service.mean_s + spread;
  }
  const ErlangPart& part = stream.Uniform() < parts[0].weight ? parts.front() : parts.back();
  double product = 1;
  for (int i = 0; i < part.shape; ++i) product *= 1 - stream.Uniform();
  return -PortableLog(product) / part.rate_per_s;
}

Responses SimulateFcfs(std::span<const double> rates_per_s, int requests, std::uint64_t seed,
                       const std::function<double(int, int, RandomStream&)>& service) {
  RandomStream arrivals(seed, "arrivals");
  RandomStream kinds(seed, "kinds");
  RandomStream services(seed, "services");
  const double total = Sum(rates_per_s);
  Responses responses(rates_per_s.size());
  double work = 0;
  int before = 0;
  for (int n = 0; n < requests; ++n) {
    work = std::max(0.0, work - arrivals.Exponential(1 / total));
    const int now = static_cast<int>(PickClass(rates_per_s, total, kinds));
    work += service(before, now, services);
    before = now;
    if (n >= requests / 10) responses[static_cast<std::size_t>(now)].push_back(work);
  }
  return responses;
}

std::vector<double> SimulateServers(const ClassLoad& load, int servers, int requests,
                                    std::uint64_t seed) {
  RandomStream arrivals(seed, "arrivals");
  RandomStream services(seed, "services");
  std::vector<double> work(static_cast<std::size_t>(servers));  // ascending
  std::vector<double> responses;
  for (int n = 0; n < requests; ++n) {
    const double gap = arrivals.Exponential(1 / load.rate_per_s);
    for (double& w : work) w = std::max(0.0, w - gap);
    const double response = work[0] + Draw(load.service, services);
    if (n >= requests / 10) responses.push_back(response);
    work[0] = response;
    for (std::size_t i = 1; i < work.size() && work[i - 1] > work[i]; ++i) {
      std::swap(work[i - 1], work[i]);
    }
  }
  return responses;
}

Responses SimulateSharing(std::span<const ClassLoad> classes, Order order, int requests,
                          std::uint64_t seed,
                          const std::function<double(const std::vector<int>&, int)>& speed) {
  struct Job {
    int kind;
    double arrived_s;
    double left_s;
  };
  RandomStream arrivals(seed, "arrivals");
  RandomStream kinds(seed, "kinds");
  RandomStream services(seed, "services");
  std::vector<double> rates;
  for (const ClassLoad& load : classes) rates.push_back(load.rate_per_s);
  const double total = Sum(rates);
  Responses responses(classes.size());
  std::vector<Job> running;
  std::vector<std::deque<Job>> waiting(classes.size());
  std::vector<int> active(classes.size());
  double now = 0;
  double next = arrivals.Exponential(1 / total);
  for (int n = 0; n < requests;) {
    double until_end = std::numeric_limits<double>::infinity();
    std::vector<double> speeds(classes.size());
    for (std::size_t c = 0; c < classes.size(); ++c) {
      if (active[c] > 0) speeds[c] = speed(active, static_cast<int>(c));
    }
    std::size_t first = 0;
    for (std::size_t i = 0; i < running.size(); ++i) {
      const double end = running[i].left_s / speeds[static_cast<std::size_t>(running[i].kind)];
      if (end < until_end) {
        until_end = end;
        first = i;
      }
    }
    const bool is_arrival = next - now < until_end;
    const double passed = is_arrival ? next - now : until_end;
    for (Job& job : running) job.left_s -= passed * speeds[static_cast<std::size_t>(job.kind)];
    now += passed;
    if (is_arrival) {
      ++n;
      const std::size_t kind = PickClass(rates, total, kinds);
      const Job job{static_cast<int>(kind), now, Draw(classes[kind].service, services)};
      if (order == Order::kOneOfEachClass && active[kind] > 0) {
        waiting[kind].push_back(job);
      } else {
        running.push_back(job);
        ++active[kind];
      }
      next = now + arrivals.Exponential(1 / total);
      continue;
    }
    const Job done = running[first];
    running[first] = running.back();
    running.pop_back();
    const auto kind = static_cast<std::size_t>(done.kind);
    --active[kind];
    if (n >= requests / 10) responses[kind].push_back(now - done.arrived_s);
    if (!waiting[kind].empty()) {
      running.push_back(waiting[kind].front());
      waiting[kind].pop_front();
      ++active[kind];
    }
  }
  return responses;
}

namespace {

// One batch after another; `gather` fills it from the requests to come, of which `next` is the
// first, and says when it may begin, the device being free at `free`.
template <typename Gather>
std::vector<double> SimulateBatches(double rate_per_s, const BatchTime& time, int requests,
                                    std::uint64_t seed, const Gather& gather) {
  RandomStream stream(seed, "arrivals");
  std::vector<double> responses;
  std::vector<double> batch;
  double next = stream.Exponential(1 / rate_per_s);
  double free = 0;
  const auto take = [&] {
    batch.push_back(next);
    next += stream.Exponential(1 / rate_per_s);
  };
  while (static_cast<int>(responses.size()) < requests) {
    batch.clear();
    const double start = gather(next, free, batch, take);
    free = start + time.Of(static_cast<double>(batch.size()));
    for (const double arrived : batch) responses.push_back(free - arrived);
  }
  return responses;
}

}  // namespace

std::vector<double> SimulateDynamicBatching(double rate_per_s, const BatchTime& time, int requests,
                                            std::uint64_t seed) {
  const auto all = [](const double& next, double free, std::vector<double>&, const auto& take) {
    const double start = std::max(free, next);
    while (next <= start) take();
    return start;
  };
  return SimulateBatches(rate_per_s, time, requests, seed, all);
}

std::vector<double> SimulateFixedBatching(double rate_per_s, const BatchTime& time, int size,
                                          double timeout_s, int requests, std::uint64_t seed) {
  const auto some = [&](const double& next, double free, std::vector<double>& batch,
                        const auto& take) {
    const double closes = next + timeout_s;
    while (next <= closes && static_cast<int>(batch.size()) < size) take();
    const bool is_full = static_cast<int>(batch.size()) == size;
    return std::max(free, is_full ? batch.back() : closes);
  };
  return SimulateBatches(rate_per_s, time, requests, seed, some);
}

std::vector<double> SimulateTandem(double rate_per_s, const ServiceTime& first,
                                   const ServiceTime& second, int requests, std::uint64_t seed) {
  RandomStream stream(seed, "tandem");
  std::vector<double> responses;
  double arrived = 0;
  double free_first = 0;
  double free_second = 0;
  for (int n = 0; n < requests; ++n) {
    arrived += stream.Exponential(1 / rate_per_s);
    free_first = std::max(arrived, free_first) + Draw(first, stream);
    free_second = std::max(free_first, free_second) + Draw(second, stream);
    if (n >= requests / 10) responses.push_back(free_second - arrived);
  }
  return responses;
}

}  // namespace duly::queueing
