// SPDX-License-Identifier: Apache-2.0
#include "queueing/sliced_response.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/random.h"

namespace duly::queueing {
namespace {

// Weights of the multiples of a step.
using Masses = std::vector<double>;

constexpr double kNegligible = 1e-10;
// Waits of so many steps are told apart; beyond, the time in service hardly counts.
constexpr std::size_t kMostSteps = 4096;

// Of the longest own service; fewer where there are many others to follow.
std::size_t CellsFor(std::size_t classes) { return classes <= 8 ? 24 : classes <= 16 ? 16 : 8; }

// To the two nearest, so that the mean stays; what is beyond the last counts as the last.
void Spread(double place, double weight, Masses& masses) {
  const std::size_t last = masses.size() - 1;
  if (place >= static_cast<double>(last)) {
    masses[last] += weight;
    return;
  }
  const auto at = static_cast<std::size_t>(place);
  const double off = place - static_cast<double>(at);
  masses[at] += weight * (1 - off);
  masses[at + 1] += weight * off;
}

double Mean(const Masses& masses) {
  double mean = 0;
  for (std::size_t c = 1; c < masses.size(); ++c) mean += static_cast<double>(c) * masses[c];
  return mean;
}

// A zero of what rises with its argument, between 0 and `high`.
template <typename Function>
double RisesTo(double value, double high, const Function& function) {
  double low = 0;
  for (int i = 0; i < 32; ++i) {
    const double middle = (low + high) / 2;
    (function(middle) < value ? low : high) = middle;
  }
  return (low + high) / 2;
}

// The work that comes within a cell.
struct Jump {
  std::size_t cells = 0;
  double weight = 0;
};
// A Poisson number of services, added up (Panjer, ASTIN Bulletin 12, 1981).
std::vector<Jump> Jumps(double expected, const Masses& service) {
  Masses sum(service.size());
  sum[0] = PortableExp(-expected * (1 - service[0]));
  double rest = 1 - sum[0];
  for (std::size_t c = 1; c + 1 < sum.size(); ++c) {
    for (std::size_t d = 1; d <= c; ++d) sum[c] += static_cast<double>(d) * service[d] * sum[c - d];
    sum[c] *= expected / static_cast<double>(c);
    rest -= sum[c];
  }
  sum.back() = std::max(0.0, rest);
  std::vector<Jump> jumps;
  for (std::size_t c = 0; c < sum.size(); ++c) {
    if (sum[c] > kNegligible) jumps.push_back({c, sum[c]});
  }
  return jumps;
}

// P(another queue is busy for b of the own request's first x cells), and the part of it after which
// it is busy still.
class BusyTime {
 public:
  explicit BusyTime(std::size_t cells)
      : side_(cells + 1), masses_(side_ * side_), busy_after_(side_ * side_) {}
  double& At(std::size_t x, std::size_t b) { return masses_[x * side_ + b]; }
  double At(std::size_t x, std::size_t b) const { return masses_[x * side_ + b]; }
  double& BusyAfter(std::size_t x, std::size_t b) { return busy_after_[x * side_ + b]; }
  double BusyAfter(std::size_t x, std::size_t b) const { return busy_after_[x * side_ + b]; }

 private:
  std::size_t side_;
  Masses masses_;
  Masses busy_after_;
};

// From `work` at the beginning, of cells + 2 masses; what comes into an idle and a busy queue.
BusyTime Follow(const Masses& work, const std::vector<Jump>& idle, const std::vector<Jump>& busy) {
  const std::size_t side = work.size();
  const std::size_t cells = side - 2;
  BusyTime time(cells);
  Masses now(side * side);  // [work left * side + busy so far]
  Masses next(side * side);
  for (std::size_t v = 0; v < side; ++v) now[v * side] = work[v];
  time.At(0, 0) = 1;
  for (std::size_t x = 0; x < cells; ++x) {
    std::fill(next.begin(), next.end(), 0);
    // More work than lasts beyond the end is as much as that.
    const std::size_t most = cells - x;
    for (std::size_t b = 0; b <= x; ++b) {
      const double none = now[b];
      for (const Jump& jump : idle) {
        if (jump.cells == 0) {
          next[b] += none * jump.weight;
          continue;
        }
        // At the cell's beginning or at its end.
        const double half = none * jump.weight / 2;
        next[std::min(jump.cells, most) * side + b] += half;
        next[std::min(jump.cells - 1, most) * side + b + 1] += half;
      }
    }
    for (std::size_t v = 1; v <= most + 1; ++v) {
      const double* const from = &now[v * side];
      for (const Jump& jump : busy) {
        double* const to = &next[std::min(v - 1 + jump.cells, most) * side + 1];
        for (std::size_t b = 0; b <= x; ++b) to[b] += from[b] * jump.weight;
      }
    }
    std::swap(now, next);
    for (std::size_t v = 0; v <= most; ++v) {
      for (std::size_t b = 0; b <= x + 1; ++b) {
        const double mass = now[v * side + b];
        time.At(x + 1, b) += mass;
        if (v > 0) time.BusyAfter(x + 1, b) += mass;
      }
    }
  }
  return time;
}

// Another class, and all that are like it.
struct Other {
  std::size_t kind = 0;
  int count = 1;
  double weight = 1;  // w_j / w_i
  double busy = 0;    // u_j
  BusyTime from_idle;
  BusyTime from_busy;
  // Steps that it adds to the own service, on the mean.
  double idle_adds = 0;
  double busy_adds = 0;

  double At(double chance, std::size_t x, std::size_t b) const {
    return chance * from_busy.At(x, b) + (1 - chance) * from_idle.At(x, b);
  }
  double BusyAfter(double chance, std::size_t x, std::size_t b) const {
    return chance * from_busy.BusyAfter(x, b) + (1 - chance) * from_idle.BusyAfter(x, b);
  }
};

// That each other is busy when the service begins.
using Chances = std::vector<double>;

Chances Scaled(const Chances& chances, double factor) {
  Chances scaled;
  for (const double chance : chances) scaled.push_back(std::min(1.0, factor * chance));
  return scaled;
}

// The time in service of one class.
class Service {
 public:
  Service(std::span<const ClassLoad> classes, std::span<const double> weights,
          std::span<const SlicedQueue> queues, std::size_t kind)
      : classes_(classes), weights_(weights), queues_(queues), kind_(kind) {
    const ServiceTime& service = classes[kind].service;
    const std::vector<WeightedTime> values = Values(service);
    const double longest = values.size() > 2 ? Quantile(service, 0.9995) : values.back().time_s;
    const std::size_t cells = CellsFor(classes.size());
    step_s_ = longest / static_cast<double>(cells);
    own_.resize(cells + 1);
    for (const WeightedTime& value : values) Spread(value.time_s / step_s_, value.weight, own_);
    mean_ = Mean(own_);
    for (std::size_t j = 0; j < classes.size(); ++j) {
      if (j != kind && classes[j].rate_per_s > 0) AddOther(j);
    }
  }

  double step_s() const { return step_s_; }
  std::size_t cells() const { return own_.size() - 1; }
  double Weight(std::size_t j) const {
    return weights_.empty() ? 1.0 : weights_[j] / weights_[kind_];
  }

  // In steps.
  double MeanFrom(const Chances& begin) const {
    double sum = mean_;
    for (std::size_t o = 0; o < others_.size(); ++o) {
      const Other& other = others_[o];
      sum += other.count * (begin[o] * other.busy_adds + (1 - begin[o]) * other.idle_adds);
    }
    return sum;
  }

  Chances BusyInProportion(double factor) const {
    Chances chances;
    for (const Other& other : others_) chances.push_back(std::min(1.0, factor * other.busy));
    return chances;
  }

  double AllIdle(const Chances& chances) const {
    double none = 1;
    for (std::size_t o = 0; o < others_.size(); ++o) {
      for (int i = 0; i < others_[o].count; ++i) none *= 1 - chances[o];
    }
    return none;
  }

  // Who is busy when the next of the class begins, behind a service that began so.
  Chances Left(const Chances& begin, double rate_per_step) const {
    const double whole = MeanFrom(begin);
    Chances left(others_.size());
    for (std::size_t o = 0; o < others_.size(); ++o) {
      const Other& other = others_[o];
      const double rest =
          whole - mean_ - other.busy_adds * begin[o] - other.idle_adds * (1 - begin[o]);
      double busy = 0;
      double all = 0;
      for (std::size_t x = 0; x < own_.size(); ++x) {
        if (own_[x] <= kNegligible) continue;
        for (std::size_t b = 0; b <= x; ++b) {
          const double took = rest + static_cast<double>(x) + other.weight * static_cast<double>(b);
          // That somebody comes meanwhile.
          const double weight = own_[x] * (1 - PortableExp(-rate_per_step * took));
          all += weight * other.At(begin[o], x, b);
          busy += weight * other.BusyAfter(begin[o], x, b);
        }
      }
      left[o] = all > 0 ? busy / all : begin[o];
    }
    return left;
  }

  Masses DistributionFrom(const Chances& begin) const {
    double most = 1;
    for (const Other& other : others_) most += other.count * other.weight;
    Masses sum(static_cast<std::size_t>(most * static_cast<double>(cells())) + classes_.size() + 2);
    Masses now(sum.size());
    Masses next(sum.size());
    for (std::size_t x = 0; x < own_.size(); ++x) {
      if (own_[x] <= kNegligible) continue;
      std::fill(now.begin(), now.end(), 0);
      now[x] = own_[x];
      std::size_t end = x;
      for (std::size_t o = 0; o < others_.size(); ++o) {
        for (int i = 0; i < others_[o].count; ++i) {
          end = Add(others_[o], begin[o], x, end, now, next);
          std::swap(now, next);
        }
      }
      for (std::size_t m = x; m <= end; ++m) sum[m] += now[m];
    }
    return sum;
  }

 private:
  // Adds what another queue takes while the own request gets its x cells; `now` is in [x, end].
  static std::size_t Add(const Other& other, double chance, std::size_t x, std::size_t end,
                         const Masses& now, Masses& next) {
    std::fill(next.begin(), next.end(), 0);
    std::size_t new_end = end;
    for (std::size_t b = 0; b <= x; ++b) {
      const double mass = other.At(chance, x, b);
      if (mass < kNegligible) continue;
      const double shift = static_cast<double>(b) * other.weight;
      const auto whole = static_cast<std::size_t>(shift);
      const double part = shift - static_cast<double>(whole);
      for (std::size_t m = x; m <= end; ++m) next[m + whole] += now[m] * mass * (1 - part);
      new_end = std::max(new_end, end + whole);
      if (part == 0) continue;
      for (std::size_t m = x; m <= end; ++m) next[m + whole + 1] += now[m] * mass * part;
      new_end = std::max(new_end, end + whole + 1);
    }
    return new_end;
  }

  void AddOther(std::size_t j) {
    const ClassLoad& load = classes_[j];
    const auto alike = std::find_if(others_.begin(), others_.end(), [&](const Other& other) {
      const ClassLoad& known = classes_[other.kind];
      return known.rate_per_s == load.rate_per_s && Weight(other.kind) == Weight(j) &&
             known.service.mean_s == load.service.mean_s && known.service.cv2 == load.service.cv2;
    });
    if (alike != others_.end()) {
      ++alike->count;
      return;
    }
    const double weight = Weight(j);
    const SlicedQueue& queue = queues_[j];
    Masses service(own_.size() + 1);
    double mean = 0;
    for (const WeightedTime& value : Values(load.service)) {
      const double place = value.time_s / weight / step_s_;
      Spread(place, value.weight, service);
      mean += value.weight * place;
    }
    // How much quicker than the own progress the clock goes while j is idle; weight more while it
    // is busy.
    double speed = 1;
    for (std::size_t l = 0; l < classes_.size(); ++l) {
      if (l != kind_ && l != j) speed += Weight(l) * queues_[l].busy;
    }
    const double per_cell = load.rate_per_s * step_s_;
    const std::vector<Jump> idle = Jumps(per_cell * speed, service);
    const std::vector<Jump> busy = Jumps(per_cell * (speed + weight), service);
    Masses none(service.size());
    none[0] = 1;
    Other other{j,
                1,
                weight,
                queue.busy,
                Follow(none, idle, busy),
                Follow(WorkWhenBusy(load, queue, service, mean), idle, busy)};
    for (std::size_t x = 1; x < own_.size(); ++x) {
      for (std::size_t b = 1; b <= x; ++b) {
        const double adds = own_[x] * weight * static_cast<double>(b);
        other.idle_adds += adds * other.from_idle.At(x, b);
        other.busy_adds += adds * other.from_busy.At(x, b);
      }
    }
    others_.push_back(std::move(other));
  }

  // What is left of the request in service, and a geometric number of others behind it.
  static Masses WorkWhenBusy(const ClassLoad& load, const SlicedQueue& queue, const Masses& service,
                             double mean) {
    const double behind = queue.busy > 0 ? load.rate_per_s * queue.wait_s / queue.busy : 0;
    const double more = behind / (1 + behind);
    Masses work(service.size());
    double beyond = 1;  // P(service > c cells)
    double rest = 1;
    for (std::size_t c = 0; c + 1 < work.size(); ++c) {
      const double before = c == 0 ? 0 : beyond;
      beyond = std::max(0.0, beyond - service[c]);
      double sum = (1 - more) * (before + beyond) / 2 / mean;
      for (std::size_t d = 1; d <= c; ++d) sum += more * service[d] * work[c - d];
      work[c] = std::min(rest, sum / (1 - more * service[0]));
      rest -= work[c];
    }
    work.back() = rest;
    return work;
  }

  std::span<const ClassLoad> classes_;
  std::span<const double> weights_;
  std::span<const SlicedQueue> queues_;
  std::size_t kind_;
  double step_s_ = 0;
  double mean_ = 0;  // of own_
  Masses own_;
  std::vector<Other> others_;
};

// P(time <= so many steps) for a time of two exponentials, or of Erlang's; up to where next to
// nothing is left.
Masses Cumulative(const ServiceTime& time, double step_s) {
  struct Part {
    double weight;
    int shape;
    double per_step;
    double none;  // e^(-per_step at)
    double decay;
  };
  std::vector<Part> parts;
  for (const ErlangPart& part : ErlangParts(time)) {
    const double per_step = part.rate_per_s * step_s;
    parts.push_back({part.weight, part.shape, per_step, 1, PortableExp(-per_step)});
  }
  Masses cumulative;
  for (double above = 1; cumulative.size() < kMostSteps && above > 1e-6;) {
    const auto at = static_cast<double>(cumulative.size());
    above = 0;
    for (Part& part : parts) {
      double term = part.weight * part.none;
      for (int n = 0; n < part.shape; ++n) {
        above += term;
        term *= part.per_step * at / (n + 1);
      }
      part.none *= part.decay;
    }
    cumulative.push_back(std::max(0.0, 1 - above));
  }
  return cumulative;
}

}  // namespace

SlicedResponse::SlicedResponse(std::span<const ClassLoad> classes, std::span<const double> weights,
                               std::span<const SlicedQueue> queues, std::size_t kind) {
  const Service service(classes, weights, queues, kind);
  const SlicedQueue& own = queues[kind];
  step_s_ = service.step_s();
  const double rate = classes[kind].rate_per_s * step_s_;
  const double own_steps = classes[kind].service.mean_s * own.stretch / step_s_;
  double load = 0;
  for (const ClassLoad& c : classes) load += c.rate_per_s * c.service.mean_s;

  // Who is busy when a request begins at once, and behind another of its class.
  wait_chance_ = std::min(own.busy, load);
  const auto all_empty = [&] { return (1 - load) / (1 - wait_chance_); };
  Chances at_once = service.BusyInProportion(RisesTo(1 - all_empty(), 64, [&](double factor) {
    return 1 - service.AllIdle(service.BusyInProportion(factor));
  }));
  Chances behind = at_once;
  if (rate > 0) {
    const double first = service.MeanFrom(at_once);
    const Chances left_by_first = service.Left(at_once, rate);
    behind = left_by_first;
    double whole = first;
    constexpr int kSweeps = 6;
    for (int i = 0; i < kSweeps; ++i) {
      const double later = service.MeanFrom(behind);
      wait_chance_ = std::min(load, rate * first / std::max(1e-9, 1 + rate * (first - later)));
      whole = (1 - wait_chance_) * first + wait_chance_ * later;
      if (i + 1 == kSweeps) break;
      // Of those that waited, the part behind one that had not.
      const double part =
          std::min(1.0, (1 - wait_chance_) * (1 - PortableExp(-rate * first)) / wait_chance_);
      const Chances left_by_later = service.Left(behind, rate);
      for (std::size_t o = 0; o < behind.size(); ++o) {
        behind[o] = part * left_by_first[o] + (1 - part) * left_by_later[o];
      }
    }
    // Others are busy together, which the independent ones above are not.
    whole += 0.6 * (1 - wait_chance_) * std::max(0.0, own_steps - whole);
    wait_chance_ = std::min(rate * whole, load);
    const double factor = RisesTo(whole, 64, [&](double f) {
      return (1 - wait_chance_) * service.MeanFrom(Scaled(at_once, f)) +
             wait_chance_ * service.MeanFrom(Scaled(behind, f));
    });
    at_once = Scaled(at_once, factor);
    behind = Scaled(behind, factor);
  }
  const double apart = classes.size() <= 2 ? 0 : RisesTo(all_empty(), 1, [&](double d) {
    return (service.AllIdle(Scaled(at_once, 1 + d)) + service.AllIdle(Scaled(at_once, 1 - d))) / 2;
  });
  const auto distribution = [&](const Chances& begin) {
    Masses sum = service.DistributionFrom(Scaled(begin, 1 + apart));
    if (apart == 0) return sum;
    const Masses other = service.DistributionFrom(Scaled(begin, 1 - apart));
    for (std::size_t m = 0; m < sum.size(); ++m) sum[m] = (sum[m] + other[m]) / 2;
    return sum;
  };
  at_once_ = distribution(at_once);
  if (rate <= 0) return;
  behind_ = distribution(behind);

  double m1 = 0;
  double m2 = 0;
  double m3 = 0;
  for (std::size_t m = 0; m < at_once_.size(); ++m) {
    const double mass = (1 - wait_chance_) * at_once_[m] + wait_chance_ * behind_[m];
    const double t = static_cast<double>(m) * step_s_;
    m1 += mass * t;
    m2 += mass * t * t;
    m3 += mass * t * t * t;
  }
  const double idle = 1 - wait_chance_;
  const double own_s = own_steps * step_s_;
  double varies = 0;
  for (std::size_t j = 0; j < queues.size(); ++j) {
    if (j == kind) continue;
    const double lasts_s =
        classes[j].service.mean_s * queues[j].stretch * (1 + classes[j].service.cv2) / 2;
    varies += service.Weight(j) * service.Weight(j) * queues[j].busy *
              std::max(0.0, 1 - queues[j].busy) * lasts_s / (lasts_s + own_s);
  }
  const double by_renewal = m2 / (2 * m1 * idle);
  const double by_mean = std::max(0.0, own.mean_s - m1) / wait_chance_;
  const double others = static_cast<double>(classes.size()) - 1;
  const double share = others > 1 ? 0.9 * (1 - 1 / others) * load * load * idle : 0;
  wait_.mean_s = by_mean - share * std::max(0.0, by_mean - by_renewal);
  wait_.cv2 = 2 * wait_chance_ + m3 / (3 * m1 * idle * by_renewal * by_renewal) - 1 +
              4.35 * std::sqrt(wait_chance_) * varies / own.stretch;
  wait_.cv2 = std::max(wait_.cv2, 0.05);
  if (wait_.mean_s <= 0) wait_chance_ = 0;
  if (wait_chance_ > 0) waited_ = Cumulative(wait_, step_s_);
}

double SlicedResponse::Reached(std::size_t at, AtOnce at_once) const {
  double sum = 0;
  const std::size_t counted = at_once == AtOnce::kCounted ? at + 1 : at;
  for (std::size_t m = 0; m < std::min(counted, at_once_.size()); ++m) sum += at_once_[m];
  sum *= 1 - wait_chance_;
  if (wait_chance_ == 0) return sum;
  double behind = 0;
  for (std::size_t m = 0; m < std::min(at, behind_.size()); ++m) {
    behind += behind_[m] * waited_[std::min(at - m, waited_.size() - 1)];
  }
  return sum + wait_chance_ * behind;
}

double SlicedResponse::Quantile(double probability) const {
  std::size_t low = 0;
  std::size_t high = at_once_.size() + waited_.size();
  if (Reached(high, AtOnce::kCounted) < probability) {
    if (waited_.size() < kMostSteps) return static_cast<double>(high) * step_s_;
    const double waits = 1 - (1 - probability) / wait_chance_;
    return Mean(behind_) * step_s_ + queueing::Quantile(wait_, waits);
  }
  while (high - low > 1) {
    const std::size_t middle = (low + high) / 2;
    (Reached(middle, AtOnce::kCounted) >= probability ? high : low) = middle;
  }
  // Between the two, or at the upper one, where many responses may be.
  const double before = low == 0 ? 0 : Reached(low, AtOnce::kCounted);  // none takes no time
  const double below = Reached(high, AtOnce::kNotCounted);
  if (below < probability) return static_cast<double>(high) * step_s_;
  const double part = below > before ? (probability - before) / (below - before) : 1;
  return (static_cast<double>(low) + part) * step_s_;
}

}  // namespace duly::queueing
