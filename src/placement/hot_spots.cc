// SPDX-License-Identifier: Apache-2.0
#include "placement/hot_spots.h"

#include <algorithm>
#include <cmath>

namespace duly::placement {

HotSpots::HotSpots(std::vector<Promise> slos, const Options& options) : options_(options) {
  for (const Promise& slo : slos) watched_.push_back({.slo = slo, .begin = std::nullopt});
}

void HotSpots::Reset(int application) {
  Watched& watched = watched_[static_cast<std::size_t>(application)];
  watched = {.slo = watched.slo, .begin = std::nullopt};
}

HotSpots::Judgement HotSpots::Judge(const Watched& watched) {
  const auto n = static_cast<double>(watched.answers);
  const double q = watched.slo.quantile;
  if (q == 0) {
    const double mean = watched.sum_s / n;
    const double variance = std::max(0.0, watched.squares_s2 / n - mean * mean);
    if (mean > watched.slo.bound_s + kSure * std::sqrt(variance / n)) return Judgement::kBroken;
    return mean <= watched.slo.bound_s ? Judgement::kKept : Judgement::kUnsure;
  }
  const auto late = static_cast<double>(watched.late);
  if (late > n * (1 - q) + kSure * std::sqrt(n * q * (1 - q))) return Judgement::kBroken;
  return late <= n * (1 - q) ? Judgement::kKept : Judgement::kUnsure;
}

bool HotSpots::Add(int application, TimePoint now, std::optional<double> response_s) {
  Watched& watched = watched_[static_cast<std::size_t>(application)];
  if (!watched.begin) watched.begin = now;
  if (response_s || watched.slo.quantile > 0) {
    ++watched.answers;
    if (!response_s || *response_s > watched.slo.bound_s) ++watched.late;
    watched.sum_s += response_s.value_or(0);
    watched.squares_s2 += response_s.value_or(0) * response_s.value_or(0);
  }
  if (now - *watched.begin < options_.window || watched.answers < kFewest) return false;

  const Judgement judgement = Judge(watched);
  watched.broken = judgement == Judgement::kBroken ? watched.broken + 1 : 0;
  watched.kept = judgement == Judgement::kKept ? watched.kept + 1 : 0;
  watched.begin.reset();
  watched.answers = 0;
  watched.late = 0;
  watched.sum_s = 0;
  watched.squares_s2 = 0;
  if (watched.hot) {
    watched.hot = watched.kept < options_.windows_to_cool;
    return false;
  }
  watched.hot = watched.broken >= options_.windows_to_hot;
  return watched.hot;
}

}  // namespace duly::placement
