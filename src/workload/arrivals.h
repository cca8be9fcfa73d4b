// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fault.h"
#include "base/random.h"
#include "base/time.h"

namespace duly::workload {

// When the requests of one application come.
class ArrivalProcess {
 public:
  virtual ~ArrivalProcess() = default;
  // The next arrival as an offset from the start of the run, not before the last one; nothing when
  // there are no more.
  virtual std::optional<Duration> Next() = 0;
};

// Independent exponential gaps.
class PoissonArrivals final : public ArrivalProcess {
 public:
  PoissonArrivals(double rate_per_s, RandomStream stream);
  std::optional<Duration> Next() override;

 private:
  double mean_gap_s_;
  double time_s_ = 0;
  RandomStream stream_;
};

// Equal gaps. Chance draws only the first offset, within one gap: applications of the same rate do
// not come in step.
class ConstantArrivals final : public ArrivalProcess {
 public:
  ConstantArrivals(double rate_per_s, RandomStream stream);
  std::optional<Duration> Next() override;

 private:
  double gap_s_;
  double first_s_;
  std::uint64_t count_ = 0;
};

// Poisson arrivals during "on" periods, none during "off" periods; both periods are exponential
// with the given means, both > 0. rate_per_s is the long-run mean, so that changing the process
// does not change the load: while on, requests come at rate * (on + off) / on. Starts in the
// stationary state.
class OnOffArrivals final : public ArrivalProcess {
 public:
  OnOffArrivals(double rate_per_s, Duration on, Duration off, RandomStream stream);
  std::optional<Duration> Next() override;

 private:
  double mean_on_s_;
  double mean_off_s_;
  double mean_gap_s_;  // while on
  double time_s_ = 0;
  double on_left_s_ = 0;
  RandomStream stream_;
};

// One state of a Markov-modulated process.
struct MarkovState {
  double weight = 1;  // its rate, relative to that of the other states; >= 0
  Duration dwell{0};  // mean time in it; > 0
};

// A Markov-modulated Poisson process: Poisson arrivals at the rate of a hidden state, which lasts
// an exponential time and is followed by one of the others, all equally likely. rate_per_s is the
// long-run mean; each state has dwell / (sum of dwells) of the time. Starts in the stationary
// state. At least two states, one with a weight above 0.
class MarkovArrivals final : public ArrivalProcess {
 public:
  MarkovArrivals(double rate_per_s, std::vector<MarkovState> states, RandomStream stream);
  std::optional<Duration> Next() override;

 private:
  std::vector<MarkovState> states_;
  double rate_of_weight_;  // per second, of weight 1
  std::size_t state_ = 0;
  double time_s_ = 0;
  double left_s_ = 0;  // in the state
  RandomStream stream_;
};

// Poisson arrivals whose rate follows the time of day: rate * (1 + depth sin(2 pi (t / period +
// phase))), by thinning (Lewis and Shedler, 1979). depth in [0, 1]; the mean over whole periods is
// the rate.
class DiurnalArrivals final : public ArrivalProcess {
 public:
  DiurnalArrivals(double rate_per_s, Duration period, double depth, double phase,
                  RandomStream stream);
  std::optional<Duration> Next() override;

 private:
  double mean_gap_s_;  // at the peak
  double period_s_;
  double depth_;
  double phase_;
  double time_s_ = 0;
  RandomStream stream_;
};

// Arrivals as recorded. Times do not decrease; they are shared, because traces are long.
class TraceArrivals final : public ArrivalProcess {
 public:
  // speed > 0: 2 plays the trace twice as fast.
  TraceArrivals(std::shared_ptr<const std::vector<double>> times_s, double speed);
  std::optional<Duration> Next() override;

 private:
  std::shared_ptr<const std::vector<double>> times_s_;
  double speed_;
  std::size_t next_ = 0;
};

// An arrival process as configured.
struct ArrivalSpec {
  enum class Kind : std::uint8_t {
    kPoisson,
    kConstant,
    kOnOff,
    kMarkov,
    kDiurnal,
    kTrace,
    kClosed,  // no process: clients that wait for their answers (closed_loop.h)
  };
  Kind kind = Kind::kPoisson;
  Duration on = std::chrono::seconds(1);               // kOnOff
  Duration off = std::chrono::seconds(1);              // kOnOff
  std::vector<MarkovState> states;                     // kMarkov
  Duration period = std::chrono::hours(24);            // kDiurnal
  double depth = 0.5;                                  // kDiurnal
  double phase = 0;                                    // kDiurnal
  std::shared_ptr<const std::vector<double>> trace_s;  // kTrace: at least two different times
  std::uint32_t clients = 1;                           // kClosed
  Duration think = std::chrono::seconds(1);            // kClosed: mean
};

// Gaps per second over the span of a trace.
double MeanRate(const std::vector<double>& trace_s);

// The process with a mean rate > 0, of any kind but kClosed; a trace is sped up or slowed down to
// it. Draws from the stream "arrivals/<application>".
std::unique_ptr<ArrivalProcess> MakeArrivals(const ArrivalSpec& spec, double rate_per_s,
                                             std::uint64_t seed, std::string_view application);

// Reads a trace: one arrival a line in seconds, not decreasing, in the column headed "arrival_s",
// or the first column when there is no such heading. Adds a fault and returns nothing if the file
// cannot be read or holds something else.
std::shared_ptr<const std::vector<double>> ReadTrace(const std::string& file, Faults& faults);

}  // namespace duly::workload
