// SPDX-License-Identifier: Apache-2.0
#include "placement/hot_spots.h"

#include <algorithm>
#include <cmath>

namespace duly::placement {

HotSpots::HotSpots(std::vector<Promise> slos, const Options& options) : options_(options) {
  for (const Promise& slo : slos) watched_.emplace_back().slo = slo;
}

void HotSpots::Reset(int application) {
  Watched& watched = watched_[static_cast<std::size_t>(application)];
  const Promise slo = watched.slo;
  watched = {};
  watched.slo = slo;
}

HotSpots::Judgement HotSpots::Judge(const Watched& watched) {
  const Answers& window = watched.window;
  const double q = watched.slo.quantile;
  if (q == 0) {
    const auto n = static_cast<double>(window.answered);
    const double mean = window.sum_s / n;
    const double variance = std::max(0.0, window.squares_s2 / n - mean * mean);
    if (mean > watched.slo.bound_s + kSure * std::sqrt(variance / n)) return Judgement::kBroken;
    return mean <= watched.slo.bound_s ? Judgement::kKept : Judgement::kUnsure;
  }
  const auto n = static_cast<double>(window.answered + window.unanswered);
  const auto late = static_cast<double>(window.late + window.unanswered);
  if (late > n * (1 - q) + kSure * std::sqrt(n * q * (1 - q))) return Judgement::kBroken;
  return late <= n * (1 - q) ? Judgement::kKept : Judgement::kUnsure;
}

bool HotSpots::Add(int application, TimePoint now, std::optional<double> response_s) {
  if (!response_s) return Add(application, now, Answers{.unanswered = 1});
  const double response = *response_s;
  return Add(application, now,
             Answers{.answered = 1,
                     .late = response > At(application).slo.bound_s ? 1U : 0U,
                     .sum_s = response,
                     .squares_s2 = response * response});
}

bool HotSpots::Add(int application, TimePoint now, const Answers& answers) {
  Watched& watched = watched_[static_cast<std::size_t>(application)];
  if (!watched.begin) watched.begin = now;
  Answers& window = watched.window;
  window.answered += answers.answered;
  window.late += answers.late;
  window.unanswered += answers.unanswered;
  window.sum_s += answers.sum_s;
  window.squares_s2 += answers.squares_s2;
  const std::uint64_t judged = window.answered + (watched.slo.quantile > 0 ? window.unanswered : 0);
  if (now - *watched.begin < options_.window || judged < kFewest) return false;

  const Judgement judgement = Judge(watched);
  watched.broken = judgement == Judgement::kBroken ? watched.broken + 1 : 0;
  watched.kept = judgement == Judgement::kKept ? watched.kept + 1 : 0;
  watched.begin.reset();
  watched.window = {};
  if (watched.hot) {
    watched.hot = watched.kept < options_.windows_to_cool;
    return false;
  }
  watched.hot = watched.broken >= options_.windows_to_hot;
  return watched.hot;
}

}  // namespace duly::placement
