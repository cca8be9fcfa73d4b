// SPDX-License-Identifier: Apache-2.0
#include "queueing/fcfs.h"

#include <algorithm>

#include "base/random.h"

namespace duly::queueing {

Result<FcfsWait> FcfsSingleServer(std::span<const ClassLoad> classes) {
  // Sums over the classes of rate times each moment.
  double first = 0;
  double second = 0;
  double third = 0;
  for (const ClassLoad& load : classes) {
    DULY_RETURN_IF_ERROR(Check(load));
    first += load.rate_per_s * load.service.mean_s;
    second += load.rate_per_s * SecondMoment(load.service);
    third += load.rate_per_s * ThirdMoment(load.service);
  }
  DULY_RETURN_IF_ERROR(CheckStable(first));
  FcfsWait wait;
  wait.utilization = first;
  wait.mean_s = second / (2 * (1 - first));
  wait.second_moment_s2 = 2 * wait.mean_s * wait.mean_s + third / (3 * (1 - first));
  return wait;
}

ExponentialWait ToExponential(const FcfsWait& wait) {
  if (wait.utilization <= 0) return {};
  return {wait.utilization, wait.mean_s / wait.utilization};
}

double WaitQuantile(const ExponentialWait& wait, double probability) {
  const double above = 1 - probability;
  if (above >= wait.probability) return 0;
  return wait.mean_if_waiting_s * PortableLog(wait.probability / above);
}

double ResponseQuantile(const ExponentialWait& wait, const ServiceTime& service,
                        double probability) {
  const double wait_s = WaitQuantile(wait, probability);
  if (service.cv2 == 0) return service.mean_s + wait_s;
  const std::vector<WeightedTime> values = Values(service);
  const auto reached = [&](double t) {
    double sum = (1 - wait.probability) * ProbabilityWithin(service, t);
    for (const WeightedTime& value : values) {
      if (value.time_s > t || wait.probability == 0) break;
      const double longer = PortableExp(-(t - value.time_s) / wait.mean_if_waiting_s);
      sum += value.weight * wait.probability * (1 - longer);
    }
    return sum >= probability;
  };
  double low = 0;
  double high = values.back().time_s + wait_s;
  for (int i = 0; i < 64 && !reached(high); ++i) high *= 2;
  for (int i = 0; i < 48; ++i) {
    const double middle = (low + high) / 2;
    (reached(middle) ? high : low) = middle;
  }
  return high;
}

Result<MultiServerWait> FcfsServers(const ClassLoad& load, int servers) {
  DULY_RETURN_IF_ERROR(Check(load));
  constexpr int kMaxServers = 10000;
  if (servers < 1 || servers > kMaxServers) {
    return Error(StatusCode::kInvalidArgument, "{} servers: expected 1 to {}", servers,
                 kMaxServers);
  }
  const double offered = load.rate_per_s * load.service.mean_s;
  MultiServerWait wait;
  wait.utilization = offered / servers;
  DULY_RETURN_IF_ERROR(CheckStable(wait.utilization));
  double blocked = 1;
  for (int n = 1; n <= servers; ++n) blocked = offered * blocked / (n + offered * blocked);
  wait.distribution.probability = blocked / (1 - wait.utilization * (1 - blocked));
  wait.distribution.mean_if_waiting_s =
      (1 + load.service.cv2) / 2 * load.service.mean_s / (servers * (1 - wait.utilization));
  wait.mean_s = wait.distribution.probability * wait.distribution.mean_if_waiting_s;
  return wait;
}

Result<double> PublishedCpuStageMean(double rate_per_s, double service_rate_per_s, int cores) {
  DULY_RETURN_IF_ERROR(CheckNotNegative("the rate", rate_per_s));
  DULY_RETURN_IF_ERROR(CheckPositive("the service rate", service_rate_per_s));
  if (cores < 1) return Error(StatusCode::kInvalidArgument, "{} cores: expected 1 or more", cores);
  const double utilization = rate_per_s / (cores * service_rate_per_s);
  DULY_RETURN_IF_ERROR(CheckStable(utilization));
  return 1 / (service_rate_per_s * (1 - utilization));
}

Result<Stage> Tandem(std::span<const Stage> stages) {
  Stage sum;
  for (const Stage& stage : stages) {
    DULY_RETURN_IF_ERROR(CheckNotNegative("the mean of a stage", stage.mean_s));
    DULY_RETURN_IF_ERROR(CheckNotNegative("the variance of a stage", stage.variance_s2));
    sum.mean_s += stage.mean_s;
    sum.variance_s2 += stage.variance_s2;
  }
  return sum;
}

Result<Stage> FcfsTandem(double rate_per_s, std::span<const ServiceTime> services) {
  Stage sum;
  Stage longest;  // wait of a stage so far
  double cv2_sum = 0;
  double stages = 0;
  for (const ServiceTime& service : services) {
    const ClassLoad load{rate_per_s, service};
    DULY_ASSIGN_OR_RETURN(const FcfsWait alone, FcfsSingleServer({&load, 1}));
    const Stage wait{alone.mean_s, alone.second_moment_s2 - alone.mean_s * alone.mean_s};
    cv2_sum += service.cv2;
    const double independent = std::min(1.0, cv2_sum / ++stages);
    const Stage longer = wait.mean_s > longest.mean_s ? wait : longest;
    const auto added = [&](double Stage::*moment) {
      return independent * wait.*moment + (1 - independent) * (longer.*moment - longest.*moment);
    };
    const double own = service.mean_s * service.mean_s * service.cv2;
    sum.mean_s += service.mean_s + added(&Stage::mean_s);
    sum.variance_s2 += own + added(&Stage::variance_s2);
    longest = longer;
  }
  return sum;
}

ServiceTime ToServiceTime(const Stage& stage) {
  return {stage.mean_s, stage.mean_s > 0 ? stage.variance_s2 / (stage.mean_s * stage.mean_s) : 0};
}

}  // namespace duly::queueing
