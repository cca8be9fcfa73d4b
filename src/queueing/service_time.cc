// SPDX-License-Identifier: Apache-2.0
#include "queueing/service_time.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace duly::queueing {
namespace {

constexpr double kSingleValuesBelow = 0.01;
// Values rarer than this are counted with the last cell.
constexpr double kTail = 1e-7;

struct Partial {
  double probability = 0;  // P(S <= x)
  double mean_s = 0;       // E[S; S <= x]
};

// E[S; S <= x] of Erlang(k) is its mean times P(Erlang(k + 1) <= x).
Partial UpTo(const std::vector<ErlangPart>& parts, double x) {
  Partial sum;
  double none = 0;  // e^-z, often that of the part before
  double before = -1;
  for (const ErlangPart& part : parts) {
    const double z = part.rate_per_s * x;
    if (z != before) none = PortableExp(-z);
    before = z;
    double term = none;  // e^-z z^n / n!
    double above = 0;    // P(Erlang(shape) > x)
    for (int n = 0; n < part.shape; ++n) {
      above += term;
      term *= z / (n + 1);
    }
    sum.probability += part.weight * std::max(0.0, 1 - above);
    sum.mean_s += part.weight * part.shape / part.rate_per_s * std::max(0.0, 1 - above - term);
  }
  return sum;
}

}  // namespace

std::vector<ErlangPart> ErlangParts(const ServiceTime& service) {
  const double mean = service.mean_s;
  const double cv2 = service.cv2;
  if (cv2 < kSingleValuesBelow) return {};
  if (cv2 > 1) {
    const double p = (1 + std::sqrt((cv2 - 1) / (cv2 + 1))) / 2;
    return {{p, 1, 2 * p / mean}, {1 - p, 1, 2 * (1 - p) / mean}};
  }
  const int k = static_cast<int>(std::ceil(1 / cv2));
  const double root = std::sqrt(std::max(0.0, k * (1 + cv2) - static_cast<double>(k) * k * cv2));
  const double q = std::clamp((k * cv2 - root) / (1 + cv2), 0.0, 1.0);
  const double rate = (k - q) / mean;
  if (k == 1 || q == 0) return {{1, k, rate}};
  return {{q, k - 1, rate}, {1 - q, k, rate}};
}

double SecondMoment(const ServiceTime& service) {
  return service.mean_s * service.mean_s * (1 + service.cv2);
}

double ThirdMoment(const ServiceTime& service) {
  if (service.cv2 < kSingleValuesBelow) {
    return service.mean_s * service.mean_s * service.mean_s * (1 + 3 * service.cv2);
  }
  double sum = 0;
  for (const ErlangPart& part : ErlangParts(service)) {
    const double k = part.shape;
    const double scale = 1 / part.rate_per_s;
    sum += part.weight * k * (k + 1) * (k + 2) * scale * scale * scale;
  }
  return sum;
}

std::vector<WeightedTime> Values(const ServiceTime& service) {
  if (service.cv2 == 0) return {{service.mean_s, 1}};
  if (service.cv2 < kSingleValuesBelow) {
    const double spread = service.mean_s * std::sqrt(service.cv2);
    return {{service.mean_s - spread, 0.5}, {service.mean_s + spread, 0.5}};
  }
  const std::vector<ErlangPart> parts = ErlangParts(service);
  double low = service.mean_s;
  while (UpTo(parts, low).probability > kTail && low > service.mean_s / 64) low *= 0.8;
  if (low <= service.mean_s / 64) low = 0;
  double high = service.mean_s;
  while (1 - UpTo(parts, high).probability > kTail) high *= 1.1;
  std::vector<WeightedTime> values;
  Partial before;
  for (int cell = 1; cell <= kServiceCells; ++cell) {
    // Finer towards 0 where there is much.
    const double part = static_cast<double>(cell) / kServiceCells;
    const double x = low > 0 ? low + (high - low) * part : high * part * part;
    const Partial after = cell == kServiceCells ? Partial{1, service.mean_s} : UpTo(parts, x);
    const double weight = after.probability - before.probability;
    if (weight <= 0) continue;
    values.push_back({(after.mean_s - before.mean_s) / weight, weight});
    before = after;
  }
  return values;
}

double ProbabilityWithin(const ServiceTime& service, double t_s) {
  if (t_s < 0) return 0;
  const std::vector<ErlangPart> parts = ErlangParts(service);
  if (!parts.empty()) return UpTo(parts, t_s).probability;
  double sum = 0;
  for (const WeightedTime& value : Values(service)) sum += value.time_s <= t_s ? value.weight : 0;
  return sum;
}

double Quantile(const ServiceTime& service, double probability) {
  const std::vector<ErlangPart> parts = ErlangParts(service);
  if (parts.empty()) {
    const std::vector<WeightedTime> values = Values(service);
    return probability <= values.front().weight ? values.front().time_s : values.back().time_s;
  }
  double low = 0;
  double high = service.mean_s;
  while (UpTo(parts, high).probability < probability && high < 1e6 * service.mean_s) high *= 2;
  for (int i = 0; i < 48; ++i) {
    const double middle = (low + high) / 2;
    (UpTo(parts, middle).probability < probability ? low : high) = middle;
  }
  return high;
}

Status CheckNotNegative(std::string_view what, double value) {
  if (std::isfinite(value) && value >= 0) return {};
  return Status(StatusCode::kInvalidArgument,
                fmt::format("{} is {}: expected a finite number of at least 0", what, value));
}

Status CheckPositive(std::string_view what, double value) {
  if (std::isfinite(value) && value > 0) return {};
  return Status(StatusCode::kInvalidArgument,
                fmt::format("{} is {}: expected a finite number above 0", what, value));
}

Status CheckFraction(std::string_view what, double value) {
  if (value > 0 && value < 1) return {};
  return Status(StatusCode::kInvalidArgument,
                fmt::format("{} is {}: expected a number between 0 and 1", what, value));
}

Status Check(const ServiceTime& service) {
  if (Status mean = CheckPositive("the mean service time", service.mean_s); !mean.ok()) return mean;
  return CheckNotNegative("the squared coefficient of variation", service.cv2);
}

Status Check(const ClassLoad& load) {
  if (Status rate = CheckNotNegative("the rate", load.rate_per_s); !rate.ok()) return rate;
  return Check(load.service);
}

Status CheckStable(double utilization) {
  if (utilization < 1) return {};
  return Status(StatusCode::kResourceExhausted,
                fmt::format("utilization is {:.4g}: expected below 1, or the queue grows without "
                            "bound",
                            utilization));
}

}  // namespace duly::queueing
