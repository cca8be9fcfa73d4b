// SPDX-License-Identifier: Apache-2.0
#include "queueing/estimate.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "queueing/fcfs.h"
#include "queueing/sharing.h"

namespace duly::queueing {
namespace {

// Standard normal quantile for 0.5 <= q < 1, within 4.5e-4 (Hastings, Approximations for Digital
// Computers, 1955, sheet 68).
double NormalQuantile(double q) {
  const double t = std::sqrt(-2 * PortableLog(1 - q));
  return t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                 (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

// `z` may be below 0.
// Beyond, Wilson and Hilferty's formula is no good.
constexpr double kGammaUpTo = 1.5;
double GammaQuantile(double mean, double cv2, double z) {
  const double root = 1 - cv2 / 9 + z * std::sqrt(cv2) / 3;
  return root > 0 ? mean * root * root * root : 0;
}

// Of the gamma distribution with two moments.
double GammaThirdMoment(double mean, double cv2) {
  return mean * mean * mean * (1 + cv2) * (1 + 2 * cv2);
}

}  // namespace

void Estimate::Update(const Device& device, std::span<const ServedClass> classes) {
  responses_.assign(classes.size(), {});
  utilization_ = 0;
  if (classes.empty()) return;
  const bool shares =
      device.mechanism == Mechanism::kSliced || device.mechanism == Mechanism::kShared;
  if (shares && form_ == Form::kPublished) return PublishedGpu(classes);
  switch (device.mechanism) {
    case Mechanism::kSerial:
    case Mechanism::kSwapping:
      return Fcfs(device, classes);
    case Mechanism::kSliced:
      return Sliced(classes);
    case Mechanism::kShared:
      return Shared(device, classes);
    case Mechanism::kServers:
      return Servers(device, classes);
  }
}

void Estimate::Fcfs(const Device& device, std::span<const ServedClass> classes) {
  const bool swaps = device.mechanism == Mechanism::kSwapping;
  double rate = 0;
  for (const ServedClass& c : classes) rate += c.rate_per_s;
  double second = 0;  // Lambda E[S^2]
  double third = 0;   // Lambda E[S^3]
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const ServedClass& c = classes[i];
    Response& response = responses_[i];
    if (swaps && c.swap_s > 0) {
      double together = c.rate_per_s;
      for (std::size_t j = 0; c.resident_set != kNoSet && j < classes.size(); ++j) {
        if (j != i && c.resident_set == classes[j].resident_set) together += classes[j].rate_per_s;
      }
      response.swap_chance = std::max(0.0, 1 - together / rate);
    }
    response.swap_s = c.swap_s;
    response.service_s = c.service.mean_s;
    response.service_cv2 = c.service.cv2;
    const double alone = c.service.mean_s - (swaps ? c.after_s : 0);
    const double variance = c.service.cv2 * c.service.mean_s * c.service.mean_s;
    const double mean = alone + response.swap_chance * c.swap_s;
    utilization_ += c.rate_per_s * mean;
    response.mean_s = mean + c.service.mean_s - alone;
    if (form_ == Form::kPublished) {
      second += c.rate_per_s * mean * mean;
      continue;
    }
    const double swapped = alone + c.swap_s;
    const double p = response.swap_chance;
    second += c.rate_per_s * (p * swapped * swapped + (1 - p) * alone * alone + variance);
    third += c.rate_per_s * (1 - p) * GammaThirdMoment(alone, variance / (alone * alone));
    if (p > 0) {
      third += c.rate_per_s * p * GammaThirdMoment(swapped, variance / (swapped * swapped));
    }
  }
  const double idle = 1 - utilization_;
  if (idle <= 0) return;
  const double wait = second / (2 * idle);
  const double wait2 = 2 * wait * wait + third / (3 * idle);
  const double mean = wait / utilization_;
  const double cv2 = wait2 / utilization_ / (mean * mean) - 1;
  for (Response& response : responses_) {
    response.mean_s += wait;
    response.delay_chance = utilization_;
    response.delay_s = mean;
    response.delay_cv2 = std::max(0.0, cv2);
  }
}

void Estimate::Sliced(std::span<const ServedClass> classes) {
  loads_.clear();
  weights_.clear();
  for (const ServedClass& c : classes) {
    loads_.push_back({c.rate_per_s, c.service});
    weights_.push_back(c.weight);
    utilization_ += c.rate_per_s * c.service.mean_s;
  }
  if (!stable()) return;
  const Result<std::vector<SlicedQueue>> queues = SlicedQueues(loads_, weights_);
  if (!queues) {
    utilization_ = 1;
    return;
  }
  double varies = 0;
  for (const SlicedQueue& queue : *queues) varies += queue.busy * (1 - queue.busy);
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const SlicedQueue& own = (*queues)[i];
    const double others = varies - own.busy * (1 - own.busy);
    const double spread = (1 + utilization_) * others / (own.stretch * own.stretch);
    const double cv2 = classes[i].service.cv2;
    const double stretched = cv2 + spread + cv2 * spread;
    // Pollaczek-Khinchine's for a gamma distributed service, and what SlicedResponse adds for the
    // others, all of them as long as the own.
    const double wait_cv2 = 2 * own.busy +
                            4.0 / 3 * (1 - own.busy) * (1 + 2 * stretched) / (1 + stretched) - 1 +
                            2.2 * std::sqrt(own.busy) * others / own.stretch;
    responses_[i] = {.mean_s = own.mean_s,
                     .service_s = classes[i].service.mean_s * own.stretch,
                     .service_cv2 = stretched,
                     .delay_chance = own.busy,
                     .delay_s = own.busy > 0 ? own.wait_s / own.busy : 0,
                     .delay_cv2 = std::min(wait_cv2, kGammaUpTo)};
  }
}

void Estimate::Shared(const Device& device, std::span<const ServedClass> classes) {
  loads_.clear();
  double rate = 0;
  double load = 0;
  for (const ServedClass& c : classes) {
    loads_.push_back({c.rate_per_s, c.service});
    rate += c.rate_per_s;
    load += c.rate_per_s * c.service.mean_s;
  }
  utilization_ = load / device.speedup.back();
  if (!stable()) return;
  const Result<Sharing> sharing = SharedServer(loads_, device.speedup);
  if (!sharing) {
    utilization_ = 1;
    return;
  }
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const ServiceTime& service = classes[i].service;
    // A service that varies by itself is one with its delay; one that does not has none while
    // nobody else is there.
    const bool is_random = service.cv2 > 0;
    const double least = is_random ? 0 : service.mean_s;
    const double delay = service.mean_s * sharing->stretch - least;
    responses_[i] = {.mean_s = service.mean_s * sharing->stretch, .service_s = least};
    if (delay <= 0) continue;
    const double chance = is_random ? 1 : 1 - sharing->alone * PortableExp(-rate * service.mean_s);
    const double cv2 = SharedVariance(*sharing, service) / (delay * delay);
    responses_[i].delay_chance = chance;
    responses_[i].delay_s = delay / chance;
    responses_[i].delay_cv2 = std::max(0.0, chance * (1 + cv2) - 1);
  }
}

void Estimate::Servers(const Device& device, std::span<const ServedClass> classes) {
  const ClassLoad all = MixedLoad(classes);
  utilization_ = all.rate_per_s * all.service.mean_s / device.servers;
  if (!stable()) return;
  const Result<MultiServerWait> wait = FcfsServers(all, device.servers);
  if (!wait) {
    utilization_ = 1;
    return;
  }
  for (std::size_t i = 0; i < classes.size(); ++i) {
    responses_[i] = {.mean_s = wait->mean_s + classes[i].service.mean_s,
                     .service_s = classes[i].service.mean_s,
                     .service_cv2 = classes[i].service.cv2,
                     .delay_chance = wait->distribution.probability,
                     .delay_s = wait->distribution.mean_if_waiting_s,
                     .delay_cv2 = 1};
  }
}

void Estimate::PublishedGpu(std::span<const ServedClass> classes) {
  loads_.clear();
  for (const ServedClass& c : classes) {
    loads_.push_back({c.rate_per_s, c.service});
    utilization_ += c.rate_per_s * c.service.mean_s;
  }
  if (!stable()) return;
  const double wait = PublishedGpuWait(loads_).value_or(0);
  for (std::size_t i = 0; i < classes.size(); ++i) {
    responses_[i].mean_s = classes[i].service.mean_s + wait;
  }
}

double Estimate::Quantile(std::size_t kind, double probability) const {
  const Response& response = responses_[kind];
  const double above = 1 - probability;
  const double busy = response.delay_chance;
  const double p = response.swap_chance;
  // The exponential with the delay's quantile; with its mean where there is none to match.
  double mean = response.delay_s;
  double delay = 0;
  if (busy > above) {
    const double inner = 1 - above / busy;
    const double log = PortableLog(busy / above);
    if (response.delay_cv2 == 1) {
      delay = mean * log;
    } else if (response.delay_cv2 > kGammaUpTo) {
      delay = duly::queueing::Quantile({mean, response.delay_cv2}, inner);
      mean = delay / log;
    } else {
      const double z = inner >= 0.5 ? NormalQuantile(inner) : -NormalQuantile(1 - inner);
      delay = GammaQuantile(mean, response.delay_cv2, z);
      if (delay > 0) mean = delay / log;
    }
  }
  if (p > 0 && mean > 0) {
    // P(more than t) = (1-p) busy e^(-t/mean), with a swap o p busy e^(-(t-o)/mean), p before o.
    const double o = response.swap_s;
    const double shrunk = PortableExp(-o / mean);
    if (busy * ((1 - p) * shrunk + p) >= above) {
      delay = o + mean * PortableLog(busy * ((1 - p) * shrunk + p) / above);
    } else if ((1 - p) * busy * shrunk + p > above) {
      delay = o;
    } else {
      delay = std::max(0.0, mean * PortableLog((1 - p) * busy / (above - p)));
    }
  } else if (p > above) {
    delay = response.swap_s;
  }
  if (response.service_cv2 == 0) return response.service_s + delay;
  const double spread =
      GammaQuantile(response.service_s, response.service_cv2, NormalQuantile(probability)) -
      response.service_s;
  return response.service_s + std::sqrt(delay * delay + spread * spread);
}

}  // namespace duly::queueing
