// SPDX-License-Identifier: Apache-2.0
#include "queueing/workload.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/random.h"
#include "queueing/matrix.h"

namespace duly::queueing {
namespace {

constexpr int kMaxSweeps = 1000;
// Multiplications that a distribution may take; sets the spacing of its grid.
constexpr double kWork = 6e5;
constexpr double kMinCells = 16;    // of the longest service
constexpr double kMaxCells = 1000;  // of the longest service

std::size_t At(int index) { return static_cast<std::size_t>(index); }

// P(n arrivals at `rate` within the service), n = 0...; empty when the sum is too long to take.
std::vector<double> ArrivalsWithin(const ServiceTime& service, double rate) {
  constexpr double kNegligible = 1e-17;
  constexpr double kMaxArrivals = 10000;
  std::vector<double> sum;
  const auto add = [&sum](std::size_t n, double value) {
    if (sum.size() <= n) sum.resize(n + 1);
    sum[n] += value;
  };
  const std::vector<ErlangPart> parts = ErlangParts(service);
  for (const ErlangPart& part : parts) {
    // Negative binomial.
    if (rate * part.shape > kMaxArrivals * part.rate_per_s) return {};
    const double more = rate / (rate + part.rate_per_s);
    double term = part.weight;
    for (int i = 0; i < part.shape; ++i) term *= 1 - more;
    const double mean = part.shape * rate / part.rate_per_s;
    for (int n = 0; term > kNegligible || n < mean; ++n) {
      add(At(n), term);
      term *= (part.shape + n) * more / (n + 1);
    }
  }
  if (!parts.empty()) return sum;
  for (const WeightedTime& value : Values(service)) {
    // Poisson, from its mode: the first terms may be too small for a number.
    const double mean = rate * value.time_s;
    if (mean > kMaxArrivals) return {};
    const int mode = static_cast<int>(mean);
    std::vector<double> terms(At(mode) + 1, 1.0);
    for (int n = mode; n > 0; --n) terms[At(n) - 1] = terms[At(n)] * n / mean;
    for (int n = mode + 1; terms.back() > kNegligible; ++n) {
      terms.push_back(terms.back() * mean / n);
    }
    double total = 0;
    for (const double term : terms) total += term;
    for (std::size_t n = 0; n < terms.size(); ++n) add(n, value.weight * terms[n] / total);
  }
  return sum;
}

// E[e^(-z S)] of the family in service_time.h.
class Transform {
 public:
  explicit Transform(const ServiceTime& service)
      : parts_(ErlangParts(service)),
        mean_s_(service.mean_s),
        spread_s_(service.mean_s * std::sqrt(service.cv2)) {}

  double At(double z) const {
    if (parts_.empty()) {
      const double mean = PortableExp(-z * mean_s_);
      if (spread_s_ == 0) return mean;
      const double off = PortableExp(z * spread_s_);
      return mean * (off + 1 / off) / 2;
    }
    double sum = 0;
    for (const ErlangPart& part : parts_) {
      const double one = part.rate_per_s / (part.rate_per_s + z);
      double term = part.weight;
      for (int i = 0; i < part.shape; ++i) term *= one;
      sum += term;
    }
    return sum;
  }

 private:
  std::vector<ErlangPart> parts_;
  double mean_s_;
  double spread_s_;
};

// A zero of a function that is below 0 at `low` and above 0 at `high`, whose values there are
// given: regula falsi, Illinois variant (Dowell and Jarratt, BIT 11, 1971).
template <typename Function>
double ZeroBetween(const Function& function, double low, double at_low, double high,
                   double at_high) {
  constexpr int kMaxSteps = 100;
  int side = 0;
  double last = low;
  for (int i = 0; i < kMaxSteps && high - low > 1e-14 * high; ++i) {
    double middle = (low * at_high - high * at_low) / (at_high - at_low);
    // Every now and then half, should one end hardly move.
    if (i % 16 == 15 || !(middle > low && middle < high)) middle = (low + high) / 2;
    const double value = function(middle);
    if (value == 0 || std::abs(middle - last) <= 1e-13 * middle) return middle;
    last = middle;
    if (value < 0) {
      low = middle;
      at_low = value;
      if (side < 0) at_high /= 2;
      side = -1;
    } else {
      high = middle;
      at_high = value;
      if (side > 0) at_low /= 2;
      side = 1;
    }
  }
  return (low + high) / 2;
}

// Q in closed form where only "the same class before" is told from "another one": arrivals that
// leave phase j take a time with transform phi_j behind themselves and psi_j behind any other
// phase. Then z I - Lambda I + D*(z) = diag(f_j(z)) + 1 r(z)' with
//   f_j(z) = z - Lambda + lambda_j (phi_j(z) - psi_j(z)),  r_j(z) = lambda_j psi_j(z)
// is singular at z = 0 and once between any two successive zeros of the f_j, where its null vector
// is x_j = 1 / f_j(z). These z are Q's eigenvalues with the sign changed, x its right eigenvectors.
// Nothing where the arrivals are not of this kind, or numbers do not suffice.
class SwapDescent {
 public:
  static std::optional<Matrix> Solve(int phases, std::span<const PhaseArrival> arrivals,
                                     double rate) {
    SwapDescent swaps(rate);
    if (!swaps.Read(phases, arrivals) || !swaps.FindPoles()) return std::nullopt;
    return swaps.Descent();
  }

 private:
  struct Class {
    double rate_per_s = 0;
    Transform same;
    Transform other;
    double pole = 0;  // f(pole) = 0
  };
  struct Values {
    double f = 0;
    double r = 0;
  };

  explicit SwapDescent(double rate) : rate_(rate) {}

  bool Read(int phases, std::span<const PhaseArrival> arrivals) {
    const std::size_t count = At(phases);
    if (arrivals.size() != count * count) return false;
    std::vector<const PhaseArrival*> same(count);
    std::vector<const PhaseArrival*> other(count);
    for (const PhaseArrival& arrival : arrivals) {
      const PhaseArrival*& first = (arrival.from == arrival.to ? same : other)[At(arrival.to)];
      if (first == nullptr) {
        first = &arrival;
      } else if (arrival.from == arrival.to || first->rate_per_s != arrival.rate_per_s ||
                 first->service.mean_s != arrival.service.mean_s ||
                 first->service.cv2 != arrival.service.cv2) {
        return false;
      }
    }
    classes_.reserve(count);
    for (std::size_t j = 0; j < count; ++j) {
      if (same[j] == nullptr || other[j] == nullptr ||
          same[j]->rate_per_s != other[j]->rate_per_s) {
        return false;
      }
      classes_.push_back(
          {same[j]->rate_per_s, Transform(same[j]->service), Transform(other[j]->service)});
    }
    return true;
  }

  Values ValuesOf(const Class& c, double z) const {
    const double r = c.rate_per_s * c.other.At(z);
    return {z - rate_ + c.rate_per_s * c.same.At(z) - r, r};
  }

  bool FindPoles() {
    for (Class& c : classes_) {
      double high = rate_;
      double at_high = ValuesOf(c, high).f;
      for (int i = 0; i < 8 && at_high < 0; ++i) {
        high *= 2;
        at_high = ValuesOf(c, high).f;
      }
      if (at_high < 0) return false;
      c.pole = at_high == 0 ? high
                            : ZeroBetween([&](double z) { return ValuesOf(c, z).f; }, 0.0, -rate_,
                                          high, at_high);
      order_.push_back(&c);
    }
    std::sort(order_.begin(), order_.end(),
              [](const Class* a, const Class* b) { return a->pole < b->pole; });
    return true;
  }

  // Between the poles of a and b: the determinant over the product of all other f.
  double Secular(const Class& a, const Class& b, double z) const {
    double sum = 1;
    Values at_a;
    Values at_b;
    for (const Class& c : classes_) {
      const Values at = ValuesOf(c, z);
      if (&c == &a) {
        at_a = at;
      } else if (&c == &b) {
        at_b = at;
      } else {
        sum += at.r / at.f;
      }
    }
    return at_a.f * at_b.f * sum + at_a.r * at_b.f + at_b.r * at_a.f;
  }

  std::optional<Matrix> Descent() const {
    const int phases = static_cast<int>(classes_.size());
    Matrix vectors(phases);  // by columns
    Matrix scaled(phases);   // times the eigenvalues
    for (int i = 0; i < phases; ++i) vectors(i, 0) = 1;
    for (int m = 1; m < phases; ++m) {
      const Class& a = *order_[At(m - 1)];
      const Class& b = *order_[At(m)];
      double z = (a.pole + b.pole) / 2;
      if (b.pole - a.pole <= 1e-9 * b.pole) {
        vectors(static_cast<int>(&a - classes_.data()), m) = 1 / ValuesOf(a, z).r;
        vectors(static_cast<int>(&b - classes_.data()), m) = -1 / ValuesOf(b, z).r;
      } else {
        const Values low = ValuesOf(b, a.pole);
        const Values high = ValuesOf(a, b.pole);
        z = ZeroBetween([&](double x) { return Secular(a, b, x); }, a.pole,
                        ValuesOf(a, a.pole).r * low.f, b.pole, ValuesOf(b, b.pole).r * high.f);
        for (int i = 0; i < phases; ++i) vectors(i, m) = 1 / ValuesOf(classes_[At(i)], z).f;
      }
      double most = 0;
      for (int i = 0; i < phases; ++i) most = std::max(most, std::abs(vectors(i, m)));
      if (!std::isfinite(most) || most == 0) return std::nullopt;
      for (int i = 0; i < phases; ++i) {
        vectors(i, m) /= most;
        scaled(i, m) = -z * vectors(i, m);
      }
    }
    Matrix descent = Multiply(scaled, Inverse(vectors));
    // A generator, but for rounding.
    for (int i = 0; i < phases; ++i) {
      double out = 0;
      for (int j = 0; j < phases; ++j) {
        if (i == j) continue;
        if (!(descent(i, j) > -1e-9 * rate_)) return std::nullopt;
        descent(i, j) = std::max(0.0, descent(i, j));
        out += descent(i, j);
      }
      descent(i, i) = -out;
    }
    return descent;
  }

  double rate_;
  std::vector<Class> classes_;
  std::vector<const Class*> order_;  // by pole
};

// Q by repeated substitution: with the arrivals during a service counted,
// e^(Q t) = Sum_n P(n arrivals) (I + Q / Lambda)^n has no negative term. From a stochastic matrix
// on, which stays one, it converges quickly at any load.
Result<Matrix> SolveDescent(int phases, std::span<const PhaseArrival> arrivals,
                            std::span<const double> phase, double rate) {
  // Arrivals that leave one phase and have the same service are counted together: most pairs of
  // classes differ in the phase before alone.
  if (std::optional<Matrix> swaps = SwapDescent::Solve(phases, arrivals, rate)) {
    return *std::move(swaps);
  }
  struct Group {
    int to = 0;
    ServiceTime service;
    std::vector<double> counts = {};                // P(n arrivals)
    std::vector<double> tails = {};                 // P(n or more)
    std::vector<std::pair<int, double>> from = {};  // with the share of all arrivals
    std::vector<double> sum = {};
  };
  std::vector<Group> groups;
  std::size_t longest = 0;
  for (const PhaseArrival& arrival : arrivals) {
    const ServiceTime& service = arrival.service;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& other) {
      return other.to == arrival.to && other.service.mean_s == service.mean_s &&
             other.service.cv2 == service.cv2;
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), {.to = arrival.to, .service = service});
      group->counts = ArrivalsWithin(service, rate);
      if (group->counts.empty()) {
        return Error(StatusCode::kResourceExhausted,
                     "a service of {:.4g} s among {:.4g} requests a second: expected at most 10000 "
                     "arrivals within a service",
                     service.mean_s, rate);
      }
      group->tails = group->counts;
      for (std::size_t n = group->tails.size() - 1; n-- > 0;) {
        group->tails[n] += group->tails[n + 1];
      }
      longest = std::max(longest, group->counts.size());
    }
    group->from.emplace_back(arrival.from, arrival.rate_per_s / rate);
  }
  Matrix step(phases);  // I + Q / Lambda
  for (int i = 0; i < phases; ++i) {
    for (int j = 0; j < phases; ++j) step(i, j) = phase[At(j)];
  }
  std::vector<double> row(At(phases));
  std::vector<double> moved(At(phases));
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    for (Group& group : groups) group.sum.assign(At(phases), 0);
    for (int to = 0; to < phases; ++to) {
      std::fill(row.begin(), row.end(), 0);
      row[At(to)] = 1;
      bool settled = false;  // all further rows are alike
      for (std::size_t n = 0; n < longest && !settled; ++n) {
        std::fill(moved.begin(), moved.end(), 0);
        for (int i = 0; i < phases; ++i) {
          for (int j = 0; j < phases; ++j) moved[At(j)] += row[At(i)] * step(i, j);
        }
        double change = 0;
        for (int j = 0; j < phases; ++j) change += std::abs(moved[At(j)] - row[At(j)]);
        settled = change < 1e-15;
        for (Group& group : groups) {
          if (group.to != to || n >= group.counts.size()) continue;
          const double share = settled ? group.tails[n] : group.counts[n];
          for (int j = 0; j < phases; ++j) group.sum[At(j)] += share * row[At(j)];
        }
        std::swap(row, moved);
      }
    }
    Matrix next(phases);
    for (const Group& group : groups) {
      for (const auto& [from, share] : group.from) {
        for (int j = 0; j < phases; ++j) next(from, j) += share * group.sum[At(j)];
      }
    }
    const double change = Distance(next, step);
    step = std::move(next);
    if (change < 1e-13) break;
  }
  for (int i = 0; i < phases; ++i) step(i, i) -= 1;
  Matrix descent(phases);
  descent.Add(step, rate);
  return descent;
}

// A service as weights on the multiples of `step`: each value on its nearest three, so that mean
// and second moment stay (Lagrange's weights, one may be negative); on two below the first
// multiple.
void AddToGrid(const WeightedTime& value, double step, std::vector<double>& grid) {
  const double place = value.time_s / step;
  if (place < 0.5) {
    grid[0] += value.weight * (1 - place);
    grid[1] += value.weight * place;
    return;
  }
  const double nearest = std::floor(place + 0.5);
  const double off = place - nearest;
  const auto at = static_cast<std::size_t>(nearest);
  grid[at - 1] += value.weight * off * (off - 1) / 2;
  grid[at] += value.weight * (1 - off * off);
  grid[at + 1] += value.weight * off * (off + 1) / 2;
}

}  // namespace

Result<Workload> Workload::Create(int phases, std::vector<PhaseArrival> arrivals) {
  if (phases < 1 || phases > kMaxPhases) {
    return Error(StatusCode::kInvalidArgument, "{} classes: expected 1 to {}", phases, kMaxPhases);
  }
  Workload workload;
  workload.phases_ = phases;
  for (const PhaseArrival& arrival : arrivals) {
    DULY_RETURN_IF_ERROR(Check(ClassLoad{arrival.rate_per_s, arrival.service}));
    if (arrival.rate_per_s > 0) workload.arrivals_.push_back(arrival);
  }
  workload.phase_.resize(At(phases));
  std::vector<double> following(At(phases));  // h_i
  std::vector<double> reaching(At(phases));   // Lambda p_j s_j, per second
  for (const PhaseArrival& arrival : workload.arrivals_) {
    if (arrival.from == 0) {
      workload.rate_per_s_ += arrival.rate_per_s;
      workload.phase_[At(arrival.to)] += arrival.rate_per_s;
    }
    following[At(arrival.from)] += arrival.rate_per_s * arrival.service.mean_s;
  }
  DULY_RETURN_IF_ERROR(CheckPositive("the sum of the rates", workload.rate_per_s_));
  const double rate = workload.rate_per_s_;
  for (double& phase : workload.phase_) phase /= rate;
  double second = 0;  // Lambda E[S^2]
  for (const PhaseArrival& arrival : workload.arrivals_) {
    const double flow = workload.phase_[At(arrival.from)] * arrival.rate_per_s;
    reaching[At(arrival.to)] += flow * arrival.service.mean_s;
    second += flow * SecondMoment(arrival.service);
    workload.utilization_ += flow * arrival.service.mean_s;
  }
  DULY_RETURN_IF_ERROR(CheckStable(workload.utilization_));

  DULY_ASSIGN_OR_RETURN(const Matrix descent, phases == 1 ? Result<Matrix>(Matrix(1))
                                                          : SolveDescent(phases, workload.arrivals_,
                                                                         workload.phase_, rate));
  workload.descent_ = descent.cells();
  workload.idle_phase_ = StationaryOf(descent);
  const double idle = 1 - workload.utilization_;
  double sum = second / 2;
  for (std::size_t i = 0; i < At(phases); ++i) {
    sum +=
        following[i] / rate * (idle * workload.idle_phase_[i] - workload.phase_[i] + reaching[i]);
  }
  workload.mean_s_ = sum / idle;
  return workload;
}

Result<Workload> FcfsWorkload(std::span<const ClassLoad> classes) {
  std::vector<PhaseArrival> arrivals;
  for (const ClassLoad& load : classes) arrivals.push_back({0, 0, load.rate_per_s, load.service});
  return Workload::Create(1, std::move(arrivals));
}

Result<WaitDistribution> WaitDistribution::Create(const Workload& workload,
                                                  double max_probability) {
  if (!(max_probability > 0 && max_probability <= 0.9999)) {
    return Error(StatusCode::kInvalidArgument, "quantile {}: expected above 0, at most 0.9999",
                 max_probability);
  }
  const int phases = workload.phases();
  const double rate = workload.rate_per_s();
  const double busy = workload.utilization();
  const double above = 1 - max_probability;

  std::vector<std::vector<WeightedTime>> services;
  double longest = 0;
  const std::span<const PhaseArrival> arrivals = workload.arrivals();
  for (std::size_t a = 0; a < arrivals.size(); ++a) {
    // Many pairs of classes have the same service.
    std::size_t same = 0;
    while (arrivals[same].service.mean_s != arrivals[a].service.mean_s ||
           arrivals[same].service.cv2 != arrivals[a].service.cv2) {
      ++same;
    }
    services.push_back(same < a ? services[same] : Values(arrivals[a].service));
    longest = std::max(longest, services.back().back().time_s);
  }
  const double expected_wait =
      above < busy ? workload.mean_s() / busy * PortableLog(busy / above) : 0;
  const double cells = std::clamp(
      std::sqrt(kWork / (phases * phases * (1 + expected_wait / longest))), kMinCells, kMaxCells);

  if ((expected_wait / longest + 2) * cells > static_cast<double>(kMaxPoints)) {
    return Error(StatusCode::kResourceExhausted,
                 "utilization is {:.6g}: expected further below 1, or a lower quantile than {}",
                 busy, max_probability);
  }

  WaitDistribution distribution;
  distribution.phases_ = phases;
  distribution.max_probability_ = max_probability;
  const double step = longest / cells;
  distribution.step_s_ = step;
  const std::size_t length = static_cast<std::size_t>(cells) + 3;

  std::vector<Matrix> jumps(length, Matrix(phases));
  for (std::size_t a = 0; a < services.size(); ++a) {
    const PhaseArrival& arrival = workload.arrivals()[a];
    std::vector<double> grid(length);
    for (const WeightedTime& value : services[a]) AddToGrid(value, step, grid);
    for (std::size_t m = 0; m < length; ++m) {
      jumps[m](arrival.from, arrival.to) += arrival.rate_per_s * grid[m];
    }
  }

  // Q of the services on the grid, close to the exact one: then probabilities sum to 1 again.
  Matrix descent(phases);
  for (int i = 0; i < phases * phases; ++i) {
    descent(i / phases, i % phases) = workload.descent()[At(i)];
  }
  std::vector<Matrix> kernel(length + 1, Matrix(phases));  // K left of each point
  Flow flow = FlowOver(descent, step);
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    for (std::size_t m = length; m-- > 0;) {
      kernel[m] = Multiply(kernel[m + 1], flow.at_end);
      kernel[m].Add(jumps[m], 1);
    }
    if (phases == 1) break;
    Matrix next = kernel[0];
    next.Add(Matrix::Identity(phases), -rate);
    const double change = Distance(next, descent);
    descent = std::move(next);
    flow = FlowOver(descent, step);
    if (change < 1e-9 * rate) break;
  }
  const std::vector<double> idle_phase = StationaryOf(descent);

  // K as weights on the grid: each cell's integral, half to either end.
  const auto pair = [phases](int i, int j) { return At(i * phases + j); };
  std::vector<std::vector<double>> weights(At(phases * phases), std::vector<double>(length + 1));
  for (std::size_t m = 0; m < length; ++m) {
    const Matrix cell = Multiply(kernel[m + 1], flow.integral);
    for (int i = 0; i < phases; ++i) {
      for (int j = 0; j < phases; ++j) {
        weights[pair(i, j)][m] += cell(i, j) / 2;
        weights[pair(i, j)][m + 1] += cell(i, j) / 2;
      }
    }
  }
  Matrix stay = Matrix::Identity(phases);
  for (int i = 0; i < phases; ++i) {
    for (int j = 0; j < phases; ++j) stay(i, j) -= weights[pair(i, j)][0];
  }
  const Matrix leave = Inverse(stay);

  // v, by handing each value on to all later points.
  std::vector<std::vector<double>> ahead(At(phases));
  std::vector<double> reached(At(phases));
  distribution.cumulative_.resize(At(phases));
  for (int j = 0; j < phases; ++j) {
    const double empty = (1 - busy) * idle_phase[At(j)];
    reached[At(j)] = empty;
    ahead[At(j)].resize(length + 1);
  }
  for (int i = 0; i < phases; ++i) {
    const double empty = reached[At(i)];
    for (int j = 0; j < phases; ++j) {
      for (std::size_t m = 0; m <= length; ++m) ahead[At(j)][m] += empty * weights[pair(i, j)][m];
    }
  }
  std::vector<double> mass(At(phases));
  std::size_t remaining = length;
  for (std::size_t m = 0; remaining > 0; ++m) {
    if (m >= kMaxPoints) {
      return Error(StatusCode::kResourceExhausted,
                   "no quantile {} within {} points at utilization {:.6g}", max_probability,
                   kMaxPoints, busy);
    }
    double total = 0;
    for (int j = 0; j < phases; ++j) {
      mass[At(j)] = 0;
      for (int i = 0; i < phases; ++i) mass[At(j)] += ahead[At(i)][m] * leave(i, j);
      std::vector<double>& cumulative = distribution.cumulative_[At(j)];
      cumulative.push_back(reached[At(j)] + (m == 0 ? 0 : mass[At(j)] / 2));
      total += cumulative.back();
      reached[At(j)] += mass[At(j)];
    }
    for (int j = 0; j < phases; ++j) ahead[At(j)].resize(m + length + 1);
    for (int i = 0; i < phases; ++i) {
      const double value = mass[At(i)];
      for (int j = 0; j < phases; ++j) {
        double* const later = ahead[At(j)].data() + m;
        const double* const weight = weights[pair(i, j)].data();
        for (std::size_t l = 1; l <= length; ++l) later[l] += value * weight[l];
      }
    }
    if (total >= max_probability) --remaining;
  }
  return distribution;
}

double WaitDistribution::Probability(int phase, double t_s) const {
  if (t_s < 0) return 0;
  const std::vector<double>& cumulative = cumulative_[At(phase)];
  const double place = t_s / step_s_;
  if (place >= static_cast<double>(cumulative.size() - 1)) return cumulative.back();
  const auto left = static_cast<std::size_t>(place);
  const double part = place - static_cast<double>(left);
  return cumulative[left] + part * (cumulative[left + 1] - cumulative[left]);
}

Result<double> WaitDistribution::Quantile(std::span<const ResponsePart> parts,
                                          double probability) const {
  if (!(probability > 0 && probability <= max_probability_)) {
    return Error(StatusCode::kInvalidArgument, "quantile {}: expected above 0, at most {}",
                 probability, max_probability_);
  }
  // An empty server by the service's own distribution, a busy one over its values.
  struct Shift {
    int phase;
    double time_s;
    double weight;
  };
  std::vector<Shift> shifts;
  double longest = 0;
  for (const ResponsePart& part : parts) {
    for (const WeightedTime& value : Values(part.service)) {
      shifts.push_back({part.phase, value.time_s + part.after_s, value.weight * part.probability});
      longest = std::max(longest, shifts.back().time_s);
    }
  }
  double low = 0;
  double high = longest + step_s_ * static_cast<double>(cumulative_[0].size());
  for (int i = 0; i < 60 && high - low > 1e-9 * high; ++i) {
    const double middle = (low + high) / 2;
    double sum = 0;
    for (const ResponsePart& part : parts) {
      sum += part.probability * cumulative_[At(part.phase)][0] *
             ProbabilityWithin(part.service, middle - part.after_s);
    }
    for (const Shift& shift : shifts) {
      if (shift.time_s > middle) continue;
      sum += shift.weight *
             (Probability(shift.phase, middle - shift.time_s) - cumulative_[At(shift.phase)][0]);
    }
    (sum < probability ? low : high) = middle;
  }
  return high;
}

}  // namespace duly::queueing
