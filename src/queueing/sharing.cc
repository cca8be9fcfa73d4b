// SPDX-License-Identifier: Apache-2.0
#include "queueing/sharing.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace duly::queueing {
namespace {

Result<double> Load(std::span<const ClassLoad> classes) {
  double load = 0;
  for (const ClassLoad& c : classes) {
    DULY_RETURN_IF_ERROR(Check(c));
    load += c.rate_per_s * c.service.mean_s;
  }
  return load;
}

}  // namespace

Result<double> PublishedGpuWait(std::span<const ClassLoad> classes) {
  DULY_ASSIGN_OR_RETURN(const double load, Load(classes));
  DULY_RETURN_IF_ERROR(CheckStable(load));
  double rate = 0;
  for (const ClassLoad& c : classes) rate += c.rate_per_s;
  DULY_RETURN_IF_ERROR(CheckPositive("the sum of the rates", rate));
  const double mean = load / rate;
  return mean / (1 - load) - mean;
}

Result<Sharing> SharedServer(std::span<const ClassLoad> classes, std::span<const double> speedup) {
  DULY_ASSIGN_OR_RETURN(const double load, Load(classes));
  if (speedup.empty() || speedup[0] != 1) {
    return Error(StatusCode::kInvalidArgument,
                 "the speed of one alone is not 1: expected r(1) = 1");
  }
  for (const double r : speedup) DULY_RETURN_IF_ERROR(CheckPositive("a speedup", r));
  Sharing sharing;
  sharing.load = load;
  double second = 0;
  for (const ClassLoad& c : classes) second += c.rate_per_s * SecondMoment(c.service);
  if (load > 0) sharing.residual_s = second / (2 * load);
  sharing.utilization = load / speedup.back();
  DULY_RETURN_IF_ERROR(CheckStable(sharing.utilization));
  // Sums of pi(n) / pi(0), the same times n, and times the square of what n and an arrival are
  // slowed by; the terms at and beyond the last are geometric. Scaled when large.
  double term = 1;
  double none = 1;
  double sum = 1;
  double jobs = 0;
  double squares = 0;
  const double last = static_cast<double>(speedup.size());
  for (std::size_t n = 1; n <= speedup.size(); ++n) {
    const double slowed = static_cast<double>(n) / speedup[n - 1];
    if (n == speedup.size()) {
      const double u = sharing.utilization;
      squares += term * slowed * slowed *
                 (1 + u * (2 * last * (1 - u) + 1 + u) / (last * last * (1 - u) * (1 - u))) /
                 (1 - u);
    } else {
      squares += term * slowed * slowed;
    }
    term *= load / speedup[n - 1];
    if (n == speedup.size()) break;
    sum += term;
    jobs += static_cast<double>(n) * term;
    if (sum > 1e100) {
      term *= 1e-100;
      none *= 1e-100;
      sum *= 1e-100;
      jobs *= 1e-100;
      squares *= 1e-100;
    }
  }
  const double rest = 1 - sharing.utilization;
  sum += term / rest;
  jobs += term * (last / rest + sharing.utilization / (rest * rest));
  sharing.mean_jobs = jobs / sum;
  sharing.alone = none / sum;
  if (load > 0) sharing.stretch = sharing.mean_jobs / load;
  sharing.stretch_variance = std::max(0.0, squares / sum - sharing.stretch * sharing.stretch);
  return sharing;
}

double SharedVariance(const Sharing& sharing, const ServiceTime& service) {
  const double mean = service.mean_s;
  double kept = 1;  // 2 (y - 1 + e^-y) / y^2
  if (sharing.residual_s > 0) {
    const double y = mean / (sharing.stretch * sharing.residual_s);
    if (y > 1e-4) kept = 2 * (y - 1 + PortableExp(-y)) / (y * y);
  }
  return mean * mean *
         (sharing.stretch_variance * kept + service.cv2 * sharing.stretch * sharing.stretch);
}

Result<std::vector<SlicedQueue>> SlicedQueues(std::span<const ClassLoad> classes,
                                              std::span<const double> weights) {
  DULY_ASSIGN_OR_RETURN(const FcfsWait whole, FcfsSingleServer(classes));
  if (!weights.empty() && weights.size() != classes.size()) {
    return Error(StatusCode::kInvalidArgument, "{} weights of {} classes: expected one each",
                 weights.size(), classes.size());
  }
  for (const double weight : weights) DULY_RETURN_IF_ERROR(CheckPositive("a weight", weight));
  const std::size_t count = classes.size();
  const double load = whole.utilization;
  std::vector<SlicedQueue> queues(count);
  const auto weight = [&](std::size_t i) { return weights.empty() ? 1.0 : weights[i]; };
  const auto own = [&](std::size_t i) { return classes[i].rate_per_s * classes[i].service.mean_s; };

  // With T = Sum w_j u_j the equations read w_i u_i (1 + rho_i) = rho_i (w_i + T).
  double slope = 0;
  double offset = 0;
  for (std::size_t i = 0; i < count; ++i) {
    slope += own(i) / (1 + own(i));
    offset += own(i) / (1 + own(i)) * weight(i);
  }
  const double all = offset / (1 - slope);
  double bounded = 0;  // T of what is kept below rho
  for (std::size_t i = 0; i < count; ++i) {
    const double busy = own(i) / (1 + own(i)) * (weight(i) + all) / weight(i);
    queues[i].busy = std::min(busy, load);
    bounded += weight(i) * queues[i].busy;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const double others = bounded - weight(i) * queues[i].busy;
    queues[i].stretch = 1 + std::max(0.0, others) / weight(i);
    if (own(i) > 0) queues[i].stretch = std::min(queues[i].stretch, load / own(i));
  }
  for (std::size_t i = 0; i < count; ++i) queues[i].busy = own(i) * queues[i].stretch;

  // What a queue's wait is a share of, kept in its place: the second moment of its service, and
  // what it gains while others keep its slices short.
  const auto slows = [&](std::size_t j) {
    const SlicedQueue& queue = queues[j];
    const double while_s =
        classes[j].service.mean_s * queue.stretch * (1 + classes[j].service.cv2) / 2;
    return weight(j) * weight(j) * queue.busy * std::max(0.0, 1 - queue.busy) * while_s;
  };
  double all_slow = 0;
  for (std::size_t j = 0; j < count; ++j) all_slow += slows(j);
  for (std::size_t i = 0; i < count; ++i) {
    const ServiceTime& service = classes[i].service;
    const double sliced = service.mean_s * queues[i].stretch;
    const double others = std::max(0.0, all_slow - slows(i)) / (weight(i) * weight(i));
    queues[i].wait_s =
        (classes[i].rate_per_s * sliced * sliced * (1 + service.cv2) + own(i) * own(i) * others) /
        2;
  }

  // Work in all queues at a given c, less what it must be: rises with c.
  double most_busy = 0;
  for (const SlicedQueue& queue : queues) most_busy = std::max(most_busy, queue.busy);
  const double must = whole.mean_s;
  const auto wait = [&](std::size_t i, double c) {
    return queues[i].wait_s / (1 - c * queues[i].busy);
  };
  struct Work {
    double sum = 0;
    double slope = 0;
  };
  const auto work = [&](double c) {
    Work at;
    for (std::size_t i = 0; i < count; ++i) {
      const ServiceTime& service = classes[i].service;
      const double waiting = classes[i].rate_per_s * service.mean_s * wait(i, c);
      at.sum += waiting + queues[i].busy * service.mean_s * (1 + service.cv2) / 2;
      at.slope += waiting * queues[i].busy / (1 - c * queues[i].busy);
    }
    return at;
  };
  // Newton's steps on a convex function, kept between what is too low and what is too high.
  double low = -1;
  double high = most_busy > 0 ? 1 / most_busy : 1;
  double c = high / 2;
  for (int i = 0; i < 50 && high - low > 1e-13; ++i) {
    const Work at = work(c);
    (at.sum < must ? low : high) = c;
    const double next = c - (at.sum - must) / at.slope;
    const double moved = std::abs(next - c);
    c = next >= low && next <= high ? next : (low + high) / 2;
    if (moved < 1e-13) break;
  }
  for (std::size_t i = 0; i < count; ++i) {
    queues[i].wait_s = wait(i, c);
    queues[i].mean_s = queues[i].wait_s + classes[i].service.mean_s * queues[i].stretch;
  }
  return queues;
}

std::vector<double> EndsOfSharedBurst(std::span<const double> services_s) {
  std::vector<std::size_t> order(services_s.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return services_s[a] < services_s[b]; });
  std::vector<double> ends(services_s.size());
  double now = 0;
  double done = 0;
  for (std::size_t k = 0; k < order.size(); ++k) {
    const double service = services_s[order[k]];
    now += static_cast<double>(order.size() - k) * (service - done);
    done = service;
    ends[order[k]] = now;
  }
  return ends;
}

Result<ClassLoad> OnShare(const ClassLoad& load, double share, double ceiling) {
  DULY_RETURN_IF_ERROR(Check(load));
  for (const double part : {share, ceiling}) {
    if (!(part > 0 && part <= 1)) {
      return Error(StatusCode::kInvalidArgument, "share {}: expected above 0, at most 1", part);
    }
  }
  // Alone, the model runs at `ceiling` of the device already.
  const double speed = std::min(share / ceiling, 1.0);
  return ClassLoad{load.rate_per_s, {load.service.mean_s / speed, load.service.cv2}};
}

}  // namespace duly::queueing
