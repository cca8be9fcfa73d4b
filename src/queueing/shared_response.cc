// SPDX-License-Identifier: Apache-2.0
#include "queueing/shared_response.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <numbers>
#include <utility>

#include "base/random.h"

namespace duly::queueing {
namespace {

constexpr std::size_t kCells = 96;
// Where the own service is random, which smooths the response.
constexpr std::size_t kCellsOfRandom = 32;
constexpr std::size_t kTerms = 64;
// Numbers found are taken together while b changes by no more than this part, and all the rest
// where they are as rare as this.
constexpr double kAlike = 0.05;
constexpr double kRare = 1e-6;

using Complex = std::complex<double>;

// The operator's rounding is the compiler's library's.
Complex Divided(Complex a, Complex b) { return a * std::conj(b) / std::norm(b); }

Complex OnCircle(double turns) { return {PortableSinTurns(turns + 0.25), PortableSinTurns(turns)}; }

// e^z by Taylor's series of what repeated halving leaves.
Complex Exp(Complex z) {
  int halvings = 0;
  for (; std::norm(z) > 0.25; ++halvings) z *= 0.5;
  Complex sum = 1;
  for (int n = 10; n >= 1; --n) sum = 1.0 + sum * z / static_cast<double>(n);
  for (; halvings > 0; --halvings) sum *= sum;
  return sum;
}

// A value for every argument theta of the transform.
struct Row {
  std::array<double, kTerms> real;
  std::array<double, kTerms> imaginary{};

  explicit Row(double value = 0) { real.fill(value); }
  Complex At(std::size_t k) const { return {real[k], imaginary[k]}; }
  void Set(std::size_t k, Complex value) {
    real[k] = value.real();
    imaginary[k] = value.imag();
  }
  void Add(double weight, const Row& row) {
    for (std::size_t k = 0; k < kTerms; ++k) real[k] += weight * row.real[k];
    for (std::size_t k = 0; k < kTerms; ++k) imaginary[k] += weight * row.imaginary[k];
  }
};

// Of a random time, by steps: P(at m), and P(after m).
struct Steps {
  std::vector<double> at;
  std::vector<double> after;

  void FillAfter(double whole) {
    after.clear();
    for (const double mass : at) after.push_back(whole = std::max(0.0, whole - mass));
  }
};

// Adds a value to the two nearest steps, its mean kept. What is beyond the last is left out.
void AddTo(std::vector<double>& steps, double place, double weight) {
  if (place >= static_cast<double>(steps.size())) return;
  const auto at = static_cast<std::size_t>(place);
  const double off = place - static_cast<double>(at);
  steps[at] += weight * (1 - off);
  if (at + 1 < steps.size()) steps[at + 1] += weight * off;
}

// What the others bring, on steps of the own progress.
struct Others {
  double rate_per_s = 0;
  Steps service;   // lambda times
  Steps residual;  // S_e
};

Others OthersOf(std::span<const ClassLoad> classes, double load, std::size_t cells, double step_s) {
  Others others;
  others.service.at.resize(cells + 1);
  std::vector<double> twice(cells + 2);  // Int Int P(S > u) du, rates summed
  for (const ClassLoad& c : classes) {
    others.rate_per_s += c.rate_per_s;
    for (const WeightedTime& value : Values(c.service)) {
      const double rate = c.rate_per_s * value.weight;
      AddTo(others.service.at, value.time_s / step_s, rate);
      for (std::size_t j = 0; j < twice.size(); ++j) {
        const double x = static_cast<double>(j) * step_s;
        const double lasts = std::min(x, value.time_s);
        twice[j] += rate * (x - lasts / 2) * lasts;
      }
    }
  }
  others.service.FillAfter(others.rate_per_s);
  // S_e spread on the steps: second differences.
  for (std::size_t j = 0; j <= cells; ++j) {
    const double sum = twice[j + 1] - 2 * twice[j] + (j > 0 ? twice[j - 1] : 0);
    others.residual.at.push_back(std::max(0.0, sum / step_s / load));
  }
  others.residual.FillAfter(1);
  return others;
}

// Requests that find so many others: pi(first), pi(first + 1) ..., behind these pi(n + 1) / pi(n)
// is `ratio`.
struct Found {
  std::size_t first = 0;
  std::vector<double> chances;
  double next = 0;
  double ratio = 0;
  double chance = 0;  // of all these
  double each = 0;    // b, on the mean

  // Their part of Sum_n pi(n) psi^n.
  Complex Sum(Complex psi) const {
    Complex power = 1;
    for (std::size_t n = 0; n < first; ++n) power *= psi;
    Complex sum = 0;
    for (const double one : chances) {
      sum += one * power;
      power *= psi;
    }
    return next > 0 ? sum + Divided(next * power, 1.0 - ratio * psi) : sum;
  }
};

std::vector<Found> AllFound(std::span<const double> speedup, const Sharing& sharing) {
  // pi, as long as the speed changes.
  std::vector<double> pi{1};
  double sum = 1;
  for (std::size_t n = 1; n < speedup.size(); ++n) {
    pi.push_back(pi.back() * sharing.load / speedup[n - 1]);
    sum += pi.back();
    if (sum > 1e100) {
      for (double& p : pi) p *= 1e-100;
      sum *= 1e-100;
    }
  }
  const double ratio = sharing.utilization;
  sum += pi.back() * ratio / (1 - ratio);
  for (double& p : pi) p /= sum;

  // Below 0 where two are more than twice as quick; above 1 / rho the others would grow for ever.
  const double most = 1 / sharing.load;
  const auto cost = [&](double n) {  // c
    const double r = n + 1 < static_cast<double>(speedup.size())
                         ? speedup[static_cast<std::size_t>(n)]
                         : speedup.back();
    return std::clamp(((n + 1) / r - 1) / n, std::min(1e-3, most), most);
  };
  const auto each = [&](double n) { return (cost(n) + cost(n + 1)) / 2; };
  std::vector<Found> all;
  double begins = 0;  // b(first) of the last
  const auto add = [&](std::size_t n, double b, double chance) -> Found& {
    if (all.empty() || std::abs(b - begins) > kAlike * begins) {
      all.emplace_back();
      all.back().first = n;
      all.back().each = b;
      begins = b;
    }
    Found& found = all.back();
    found.chance += chance;
    if (found.chance > 0) found.each += (b - found.each) * chance / found.chance;
    return found;
  };
  double rest = 1;
  double chance = pi[0];
  for (std::size_t n = 0;; ++n) {
    const double b =
        n == 0 ? (1 - 1 / sharing.stretch) / sharing.load : each(static_cast<double>(n));
    const double limit = 1 / speedup.back();
    if (n + 1 >= speedup.size() && (rest < kRare || std::abs(limit - b) <= kAlike / 2 * limit)) {
      const double mean = static_cast<double>(n) + ratio / (1 - ratio);
      Found& found = add(n, each(std::max(1.0, mean)), rest);
      found.next = chance;
      found.ratio = ratio;
      return all;
    }
    add(n, b, chance).chances.push_back(chance);
    rest = std::max(0.0, rest - chance);
    chance = n + 1 < pi.size() ? pi[n + 1] : chance * ratio;
  }
}

// Adds to the real parts of E[e^(-theta (V - least))] what requests contribute that find `found`;
// the own service is at so many steps with these weights, theta = 2 pi i k turns_per_s.
void AddTransform(const Others& others, const Found& found, const std::vector<double>& own,
                  double step_s, double turns_per_s, double least_s, std::vector<double>& real) {
  const double b = found.each;
  const std::vector<double>& service = others.service.at;
  const double leaves = b * (others.rate_per_s - service[0]);
  const auto turns = [&](std::size_t k) { return static_cast<double>(k + 1) * turns_per_s; };
  std::array<Complex, kTerms> turn;
  for (std::size_t k = 0; k < kTerms; ++k) turn[k] = OnCircle(b * turns(k) * step_s);

  std::vector<Row> grown(1, Row(1));                 // B
  Row brings(leaves - b * others.service.after[0]);  // b lambda (1 - phi) B
  Row before = brings;                               // b lambda (1 - phi)
  Row logarithm;                                     // of B, since `alone`
  Row alone;                                         // B^(-1 / b) e^(theta least)
  for (std::size_t k = 0; k < kTerms; ++k) alone.Set(k, OnCircle(turns(k) * least_s));
  for (std::size_t j = 0; j < own.size(); ++j) {
    if (j > 0) {
      Row phi(b * others.service.after[j]);  // b lambda phi B, but for the services of no step
      for (std::size_t m = 1; m <= j; ++m) {
        if (service[m] > 0) phi.Add(b * service[m], grown[j - m]);
      }
      const double half = step_s / 2;
      grown.emplace_back();
      for (std::size_t k = 0; k < kTerms; ++k) {
        const Complex now =
            (turn[k] * (grown[j - 1].At(k) + half * brings.At(k)) - half * phi.At(k)) /
            (1 - half * leaves);
        grown[j].Set(k, now);
        const Complex more = leaves * now - phi.At(k);
        brings.Set(k, more);
        const Complex per_one = Divided(more, now);
        const Complex theta(0, 2 * std::numbers::pi * turns(k));
        logarithm.Set(k, logarithm.At(k) + half * (before.At(k) + per_one) + b * step_s * theta);
        before.Set(k, per_one);
      }
    }
    if (own[j] <= 0) continue;
    Row psi(others.residual.after[j]);  // psi B
    for (std::size_t m = 0; m <= j; ++m) psi.Add(others.residual.at[m], grown[j - m]);
    for (std::size_t k = 0; k < kTerms; ++k) {
      const Complex now = alone.At(k) * Exp(-logarithm.At(k) / b);
      alone.Set(k, now);
      logarithm.Set(k, 0);
      real[k] += own[j] * (now * found.Sum(Divided(psi.At(k), grown[j].At(k)))).real();
    }
  }
}

}  // namespace

SharedResponse::Part SharedResponse::PartOf(std::span<const ClassLoad> classes,
                                            std::span<const double> speedup, const Sharing& sharing,
                                            const ServiceTime& service, double max_probability) {
  const std::vector<WeightedTime> values = Values(service);
  const bool is_random = !ErlangParts(service).empty();
  const std::size_t cells = is_random ? kCellsOfRandom : kCells;
  const double longest = is_random ? queueing::Quantile(service, 0.9995) : values.back().time_s;
  const double step_s = longest / static_cast<double>(cells);
  std::vector<double> own(cells + 1);
  for (const WeightedTime& value : values) {
    AddTo(own, std::min(value.time_s / step_s, static_cast<double>(cells)), value.weight);
  }

  Part part;
  if (!is_random) part.least_s = values.front().time_s;
  // To where hardly anything is left beyond the probability: tails are exponential.
  const double delay_s = service.mean_s * (sharing.stretch - 1) + service.mean_s - part.least_s;
  part.span_s = delay_s + std::sqrt(SharedVariance(sharing, service)) *
                              (5 - 2 * PortableLog(1 - max_probability));
  const double turns_per_s = 1 / (2 * part.span_s);
  const Others others = OthersOf(classes, sharing.load, cells, step_s);
  const std::vector<Found> all = AllFound(speedup, sharing);
  std::vector<double> cosines(kTerms);
  for (const Found& found : all) {
    AddTransform(others, found, own, step_s, turns_per_s, part.least_s, cosines);
  }
  double mean_u = 0;
  if (!is_random) {
    for (const WeightedTime& value : values) {
      const double u = (value.time_s - part.least_s) / part.span_s;
      const double chance =
          value.weight * sharing.alone * PortableExp(-others.rate_per_s * value.time_s);
      part.alone_at.push_back({u, chance});
      part.evenly -= chance;
      mean_u += chance * u;
      for (std::size_t k = 0; k < kTerms; ++k) {
        cosines[k] -= chance * OnCircle(static_cast<double>(k + 1) * u / 2).real();
      }
    }
  }
  mean_u += part.evenly / 2;
  for (std::size_t k = 0; k < kTerms; ++k) {
    const double radians = static_cast<double>(k + 1) * std::numbers::pi;
    if (k % 2 == 0) mean_u -= 4 * cosines[k] / (radians * radians);
    part.sines.push_back(2 * cosines[k] / radians);
  }
  // To the mean of SharedServer(), from which b and the steps lead away.
  if (mean_u > 0) part.span_s = std::clamp(delay_s / mean_u, part.span_s / 2, part.span_s * 2);
  return part;
}

SharedResponse::SharedResponse(std::span<const ClassLoad> classes, std::span<const double> speedup,
                               const Sharing& sharing, std::size_t kind, double max_probability)
    : service_(classes[kind].service), stretch_(sharing.stretch) {
  if (stretch_ <= 1) return;
  if (service_.cv2 <= 1) {
    parts_.push_back(PartOf(classes, speedup, sharing, service_, max_probability));
    return;
  }
  for (const ErlangPart& part : ErlangParts(service_)) {
    parts_.push_back(PartOf(classes, speedup, sharing, {1 / part.rate_per_s, 1}, max_probability));
    parts_.back().weight = part.weight;
  }
}

double SharedResponse::Reached(double t_s) const {
  double sum = 0;
  for (const Part& part : parts_) {
    const double u = (t_s - part.least_s) / part.span_s;
    if (u < 0) continue;
    if (u >= 1) {
      sum += part.weight;
      continue;
    }
    double reached = part.evenly * u;
    for (const WeightedTime& alone : part.alone_at) {
      if (alone.time_s <= u) reached += alone.weight;
    }
    // sin(k a) = 2 cos(a) sin((k - 1) a) - sin((k - 2) a)
    const Complex turn = OnCircle(u / 2);
    double sine = turn.imag();
    double before = 0;
    for (const double weight : part.sines) {
      reached += weight * sine;
      before = std::exchange(sine, 2 * turn.real() * sine - before);
    }
    sum += part.weight * reached;
  }
  return sum;
}

double SharedResponse::Quantile(double probability) const {
  if (parts_.empty()) return stretch_ * queueing::Quantile(service_, probability);
  double low = parts_.front().least_s;
  if (Reached(low) >= probability) return low;
  double high = low;
  for (const Part& part : parts_) high = std::max(high, part.least_s + part.span_s);
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    (Reached(middle) < probability ? low : high) = middle;
  }
  return high;
}

}  // namespace duly::queueing
