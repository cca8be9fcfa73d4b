// SPDX-License-Identifier: Apache-2.0
#include "queueing/batching.h"

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "queueing/service_time.h"

namespace duly::queueing {
namespace {

Status Check(double rate_per_s, const BatchTime& time) {
  if (Status s = CheckPositive("the rate", rate_per_s); !s.ok()) return s;
  if (Status s = CheckNotNegative("the time per request", time.per_request_s); !s.ok()) return s;
  if (Status s = CheckNotNegative("the fixed time", time.fixed_s); !s.ok()) return s;
  return CheckPositive("the time of a batch of one", time.Of(1));
}

}  // namespace

Result<double> DynamicBatchingMean(double rate_per_s, const BatchTime& time) {
  DULY_RETURN_IF_ERROR(Check(rate_per_s, time));
  const double a = time.per_request_s;
  const double t0 = time.fixed_s;
  const double load = rate_per_s * a;
  DULY_RETURN_IF_ERROR(CheckStable(load));
  const double phi0 =
      (a + t0) / (2 * (1 - load)) * (1 + 2 * rate_per_s * t0 + (1 - rate_per_s * t0) / (1 + load));
  const double phi1 = 1.5 * t0 / (1 - load) + a / 2 * (load + 2) / (1 - load * load);
  return std::min(phi0, phi1);
}

Result<FixedBatching> FixedBatchingMean(double rate_per_s, const BatchTime& time, int size,
                                        double timeout_s) {
  DULY_RETURN_IF_ERROR(Check(rate_per_s, time));
  DULY_RETURN_IF_ERROR(CheckNotNegative("the timeout", timeout_s));
  constexpr int kMaxSize = 4096;
  if (size < 1 || size > kMaxSize) {
    return Error(StatusCode::kInvalidArgument, "batch size {}: expected 1 to {}", size, kMaxSize);
  }
  // P(X >= i) for i = 0 ... size + 1; e^-700 is still a number.
  const double expected = rate_per_s * timeout_s;
  if (expected > 700) {
    return Error(StatusCode::kInvalidArgument,
                 "{} requests are expected within the timeout: expected at most 700", expected);
  }
  std::vector<double> at_least(static_cast<std::size_t>(size) + 2);
  double term = PortableExp(-expected);
  double below = 0;
  for (std::size_t i = 0; i < at_least.size(); ++i) {
    at_least[i] = std::max(0.0, 1 - below);
    below += term;
    term *= expected / static_cast<double>(i + 1);
  }
  // Of the size and of the time from the first request to the closing: i + 1 requests are there for
  // a time of mean P(X >= i + 1) / lambda before the timeout.
  double mean_size = 1;
  double second_size = 1;  // E[n^2] = 1 + Sum (2 i + 1) P(n >= i + 1)
  double weighted = 0;
  double open = 0;
  double open_second = 0;
  for (int i = 1; i < size; ++i) {
    const double p = at_least[static_cast<std::size_t>(i)];
    mean_size += p;
    second_size += (2 * i + 1) * p;
    weighted += i * p;
    open += p / rate_per_s;
    open_second += 2 * i * at_least[static_cast<std::size_t>(i) + 1] / (rate_per_s * rate_per_s);
  }
  FixedBatching batching;
  batching.mean_size = mean_size;
  batching.fill_s = weighted / (rate_per_s * mean_size);

  const double mean_time = time.Of(mean_size);
  batching.utilization = rate_per_s * mean_time / mean_size;
  const double rho = batching.utilization;
  DULY_RETURN_IF_ERROR(CheckStable(rho));
  const double gap = 1 / rate_per_s + open;
  const double gap_variance =
      1 / (rate_per_s * rate_per_s) + std::max(0.0, open_second - open * open);
  const double size_variance = std::max(0.0, second_size - mean_size * mean_size);
  const double ca2 = gap_variance / (gap * gap);
  const double cs2 =
      time.per_request_s * time.per_request_s * size_variance / (mean_time * mean_time);
  const double correction =
      PortableExp(-2 * (1 - rho) * (1 - ca2) * (1 - ca2) / (3 * rho * (ca2 + cs2)));
  const double scattered = rho * mean_time / (1 - rho) * (ca2 + cs2) / 2 * correction;
  const double slack = gap - mean_time;
  const double squares = ca2 * gap * gap + cs2 * mean_time * mean_time + slack * slack;
  batching.wait_s = std::min(scattered, squares / (2 * slack) - 1 / rate_per_s);
  const double own = (time.per_request_s * second_size + time.fixed_s * mean_size) / mean_size;
  batching.mean_s = batching.fill_s + batching.wait_s + own;
  return batching;
}

Result<int> LargestBatchWithin(double rate_per_s, const BatchTime& time, double slo_s,
                               int max_size) {
  DULY_RETURN_IF_ERROR(Check(rate_per_s, time));
  DULY_RETURN_IF_ERROR(CheckPositive("the SLO", slo_s));
  if (max_size < 1) {
    return Error(StatusCode::kInvalidArgument, "batch size {}: expected 1 or more", max_size);
  }
  if (time.Of(1) > slo_s) return 0;
  const double more = (slo_s - time.Of(1)) / (1 / rate_per_s + time.per_request_s);
  return more >= max_size ? max_size : std::min(max_size, 1 + static_cast<int>(more));
}

}  // namespace duly::queueing
