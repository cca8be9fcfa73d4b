// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "placement/cluster.h"

namespace duly::placement {

// Finds applications whose measured latency has left their SLO, from the answers as they come.
//
// An SLO at quantile q is kept when at most a share 1 - q of the answers is late. Answers are
// counted over windows; a window with n answers (and requests without) says
//   broken  when its late ones are more than n (1 - q) + kSure sqrt(n q (1 - q))
//   kept    when they are at most n (1 - q)
// and else nothing: kSure standard deviations are more than chance does. A mean is judged in the
// same way by the standard error of the window's answers. An application is hot after
// `windows_to_hot` broken windows in a row and stays so until `windows_to_cool` kept ones: one
// burst moves nobody, and nobody goes back and forth. A window with fewer than kFewest answers goes
// on.
//
// Times are of the caller's clock and do not go back. Threading: one owner at a time.
class HotSpots {
 public:
  struct Options {
    Duration window = std::chrono::seconds(10);
    int windows_to_hot = 3;
    int windows_to_cool = 6;
  };
  static constexpr double kSure = 3;
  static constexpr std::uint64_t kFewest = 20;

  HotSpots(std::vector<Promise> slos, const Options& options);

  // Answers of some time, and requests that got none: late beyond any bound, of which a mean takes
  // no notice.
  struct Answers {
    std::uint64_t answered = 0;
    std::uint64_t late = 0;  // of them
    std::uint64_t unanswered = 0;
    double sum_s = 0;  // of responses
    double squares_s2 = 0;
  };
  // True where the application has become hot with these.
  bool Add(int application, TimePoint now, const Answers& answers);
  // The same for one request; nothing: it got no answer.
  bool Add(int application, TimePoint now, std::optional<double> response_s);
  bool is_hot(int application) const { return At(application).hot; }
  // It was moved: its windows start anew.
  void Reset(int application);

 private:
  struct Watched {
    Promise slo;
    std::optional<TimePoint> begin;
    Answers window;
    int broken = 0;  // windows in a row
    int kept = 0;
    bool hot = false;
  };
  enum class Judgement : std::uint8_t { kKept, kUnsure, kBroken };

  const Watched& At(int application) const {
    return watched_[static_cast<std::size_t>(application)];
  }
  static Judgement Judge(const Watched& watched);

  Options options_;
  std::vector<Watched> watched_;
};

}  // namespace duly::placement
