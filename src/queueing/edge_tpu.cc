// SPDX-License-Identifier: Apache-2.0
#include "queueing/edge_tpu.h"

#include <algorithm>
#include <utility>

namespace duly::queueing {
namespace {

bool StayTogether(std::span<const SwappedClass> classes, std::size_t i, std::size_t j) {
  return i == j ||
         (classes[i].resident_set != kNoSet && classes[i].resident_set == classes[j].resident_set);
}

double ChanceOfSwap(std::span<const SwappedClass> classes, std::size_t i, double total) {
  if (total <= 0) return 0;
  double together = 0;
  for (std::size_t j = 0; j < classes.size(); ++j) {
    if (StayTogether(classes, i, j)) together += classes[j].rate_per_s;
  }
  return std::max(0.0, 1 - together / total);
}

double TotalRate(std::span<const SwappedClass> classes) {
  double total = 0;
  for (const SwappedClass& load : classes) total += load.rate_per_s;
  return total;
}

ServiceTime WithSwap(const SwappedClass& load) {
  const double mean = load.service.mean_s;
  const double swapped = mean + load.swap_s;
  return {swapped, load.service.cv2 * mean * mean / (swapped * swapped)};
}

struct Moments {
  double count = 0;
  double sum = 0;
  double squares = 0;

  void Add(double x) {
    ++count;
    sum += x;
    squares += x * x;
  }
  double mean() const { return sum / count; }
  double variance() const { return std::max(0.0, squares / count - mean() * mean()); }
};

}  // namespace

Result<SwappedWait> WaitWithSwaps(std::span<const SwappedClass> classes, SecondMomentForm form) {
  SwappedWait wait;
  for (const SwappedClass& load : classes) {
    DULY_RETURN_IF_ERROR(Check(ClassLoad{load.rate_per_s, load.service}));
    DULY_RETURN_IF_ERROR(CheckNotNegative("the time of a swap", load.swap_s));
    wait.rate_per_s += load.rate_per_s;
  }
  double second = 0;  // Lambda E[S^2]
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const SwappedClass& load = classes[i];
    const double swap = ChanceOfSwap(classes, i, wait.rate_per_s);
    const double effective = load.service.mean_s + swap * load.swap_s;
    wait.utilization += load.rate_per_s * effective;
    second += load.rate_per_s *
              (form == SecondMomentForm::kPublished
                   ? effective * effective
                   : swap * SecondMoment(WithSwap(load)) + (1 - swap) * SecondMoment(load.service));
  }
  DULY_RETURN_IF_ERROR(CheckStable(wait.utilization));
  wait.wait_s = second / (2 * (1 - wait.utilization));
  return wait;
}

double EffectiveService(std::span<const SwappedClass> classes, std::size_t i) {
  return classes[i].service.mean_s +
         ChanceOfSwap(classes, i, TotalRate(classes)) * classes[i].swap_s;
}

double DefaultSwap(double on_chip_mb) { return 1.95e-3 + 2.30e-3 * on_chip_mb; }

PairedServices ToPairs(std::span<const SwappedClass> classes) {
  PairedServices pairs;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    pairs.rate_per_s.push_back(classes[i].rate_per_s);
    pairs.after_s.push_back(0);
    for (std::size_t j = 0; j < classes.size(); ++j) {
      pairs.service.push_back(StayTogether(classes, i, j) ? classes[j].service
                                                          : WithSwap(classes[j]));
    }
  }
  return pairs;
}

Result<PairedQueue> PairedQueue::Create(PairedServices services) {
  const std::size_t classes = services.rate_per_s.size();
  if (services.service.size() != classes * classes || services.after_s.size() != classes) {
    return Error(
        StatusCode::kInvalidArgument,
        "{} services and {} host times of {} classes: expected one for each pair and class",
        services.service.size(), services.after_s.size(), classes);
  }
  std::vector<PhaseArrival> arrivals;
  for (std::size_t i = 0; i < classes; ++i) {
    DULY_RETURN_IF_ERROR(CheckNotNegative("the host's time", services.after_s[i]));
    for (std::size_t j = 0; j < classes; ++j) {
      arrivals.push_back({static_cast<int>(i), static_cast<int>(j), services.rate_per_s[j],
                          services.service[i * classes + j]});
    }
  }
  DULY_ASSIGN_OR_RETURN(Workload workload,
                        Workload::Create(static_cast<int>(classes), std::move(arrivals)));
  return PairedQueue(std::move(services), std::move(workload));
}

double PairedQueue::MeanResponse(std::size_t kind) const {
  const std::size_t classes = services_.rate_per_s.size();
  double mean = workload_.mean_s() + services_.after_s[kind];
  for (std::size_t i = 0; i < classes; ++i) {
    mean += workload_.phase_probabilities()[i] * services_.service[i * classes + kind].mean_s;
  }
  return mean;
}

std::vector<ResponsePart> PairedQueue::Response(std::size_t kind) const {
  const std::size_t classes = services_.rate_per_s.size();
  std::vector<ResponsePart> parts;
  for (std::size_t i = 0; i < classes; ++i) {
    parts.push_back({.phase = static_cast<int>(i),
                     .service = services_.service[i * classes + kind],
                     .after_s = services_.after_s[kind]});
  }
  return parts;
}

Result<PairedServices> Calibrate(std::span<const ServedRequest> requests, std::size_t classes) {
  // [before * classes + kind], by what the request found.
  std::vector<Moments> idle(classes * classes);
  std::vector<Moments> busy(classes * classes);
  std::vector<double> count(classes);
  if (requests.empty()) {
    return Error(StatusCode::kFailedPrecondition, "no requests: expected some of every class");
  }
  double first = requests[0].arrived_s;
  for (std::size_t n = 0; n < requests.size(); ++n) {
    const ServedRequest& now = requests[n];
    if (now.kind >= classes) {
      return Error(StatusCode::kInvalidArgument, "class {}: expected below {}", now.kind, classes);
    }
    ++count[now.kind];
    first = std::min(first, now.arrived_s);
    if (n == 0) continue;
    const ServedRequest& before = requests[n - 1];
    if (now.done_s < before.done_s || now.done_s <= now.arrived_s) {
      return Error(StatusCode::kInvalidArgument,
                   "request {} is out of order: expected ascending ends, each after its arrival",
                   n);
    }
    const std::size_t pair = before.kind * classes + now.kind;
    if (now.arrived_s >= before.done_s) {
      idle[pair].Add(now.done_s - now.arrived_s);
    } else {
      busy[pair].Add(now.done_s - before.done_s);
    }
  }

  constexpr double kEnough = 5;
  PairedServices services;
  for (std::size_t i = 0; i < classes; ++i) {
    services.rate_per_s.push_back(count[i] / (requests.back().done_s - first));
    double sum = 0;
    double weights = 0;
    for (std::size_t j = 0; j < classes; ++j) {
      const Moments& a = idle[i * classes + j];
      const Moments& b = busy[i * classes + j];
      if (a.count + b.count < kEnough) {
        return Error(StatusCode::kFailedPrecondition,
                     "{} requests of class {} behind class {}: expected at least {}",
                     a.count + b.count, j, i, kEnough);
      }
      if (a.count < kEnough || b.count < kEnough) continue;
      constexpr double kResolution = 1e-12;  // s^2: equal times are not infinitely sure
      const double weight = 1 / (a.variance() / a.count + b.variance() / b.count + kResolution);
      sum += weight * (a.mean() - b.mean());
      weights += weight;
    }
    services.after_s.push_back(weights > 0 ? std::max(0.0, sum / weights) : 0);
  }
  for (std::size_t i = 0; i < classes; ++i) {
    for (std::size_t j = 0; j < classes; ++j) {
      const Moments& a = idle[i * classes + j];
      const Moments& b = busy[i * classes + j];
      const double all = a.count + b.count;
      const double mean = (a.sum + b.sum + b.count * services.after_s[i]) / all;
      // Of both kinds about their common mean.
      double variance = 0;
      if (a.count > 0) {
        const double off = a.mean() - mean;
        variance += a.count / all * (a.variance() + off * off);
      }
      if (b.count > 0) {
        const double off = b.mean() + services.after_s[i] - mean;
        variance += b.count / all * (b.variance() + off * off);
      }
      const double occupied = mean - services.after_s[j];
      if (occupied <= 0) {
        return Error(StatusCode::kFailedPrecondition,
                     "class {} behind {} takes {} s, less than its host's {} s", j, i, mean,
                     services.after_s[j]);
      }
      services.service.push_back({occupied, variance / (occupied * occupied)});
    }
  }
  return services;
}

}  // namespace duly::queueing
