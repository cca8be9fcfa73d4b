// SPDX-License-Identifier: Apache-2.0
#include "workload/arrivals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/temp_folder_test_util.h"

namespace duly::workload {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = ArrivalSpec::Kind;

std::vector<double> Seconds(ArrivalProcess& process, std::size_t count) {
  std::vector<double> times;
  while (times.size() < count) {
    const std::optional<Duration> at = process.Next();
    if (!at) break;
    times.push_back(ToSeconds(*at));
  }
  return times;
}

double MeanOfGaps(const std::vector<double>& times) {
  return times.back() / static_cast<double>(times.size());
}

// Squared coefficient of variation of the gaps.
double GapCv2(const std::vector<double>& times) {
  double sum = 0;
  double sum2 = 0;
  double last = 0;
  for (const double t : times) {
    sum += t - last;
    sum2 += (t - last) * (t - last);
    last = t;
  }
  const double n = static_cast<double>(times.size());
  return sum2 / n / (sum / n * sum / n) - 1;
}

TEST(PoissonArrivals, HaveExponentialGapsOfTheRate) {
  PoissonArrivals process(50, RandomStream(1, "arrivals/a"));
  constexpr int kCount = 100000;
  const std::vector<double> times = Seconds(process, kCount);
  // The mean of n exponential gaps has a standard error of mean / sqrt(n); five of them.
  EXPECT_NEAR(MeanOfGaps(times), 1.0 / 50, 5.0 / 50 / std::sqrt(kCount));
  EXPECT_NEAR(GapCv2(times), 1.0, 0.05);
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
}

TEST(ConstantArrivals, HaveEqualGapsAndAFirstOffsetWithinOne) {
  ConstantArrivals process(8, RandomStream(1, "arrivals/a"));
  const std::vector<double> times = Seconds(process, 100);
  EXPECT_GE(times.front(), 0);
  EXPECT_LT(times.front(), 0.125);
  for (std::size_t i = 1; i < times.size(); ++i) EXPECT_NEAR(times[i] - times[i - 1], 0.125, 2e-9);
}

TEST(ConstantArrivals, ApplicationsDoNotComeInStep) {
  ConstantArrivals a(8, RandomStream(1, "arrivals/a"));
  ConstantArrivals b(8, RandomStream(1, "arrivals/b"));
  EXPECT_NE(a.Next(), b.Next());
}

TEST(OnOffArrivals, KeepTheMeanRateAndComeInBursts) {
  constexpr double kRate = 100;
  OnOffArrivals process(kRate, std::chrono::milliseconds(100), std::chrono::milliseconds(200),
                        RandomStream(1, "arrivals/a"));
  const std::vector<double> times = Seconds(process, 300000);
  // About 10 000 on-off cycles, each with a relative deviation of the order of 1: five sigma are 7
  // %.
  EXPECT_NEAR(MeanOfGaps(times), 1 / kRate, 0.07 / kRate);
  // An interrupted Poisson process with on rate l, leaving on at a and off at b, is a renewal
  // process with cv^2 = 1 + 2 l a / (a + b)^2 (Kuczura, 1973): here l=300, a=10, b=5.
  EXPECT_NEAR(GapCv2(times), 1 + 2 * 300.0 * 10 / (15.0 * 15.0), 3.0);
}

TEST(OnOffArrivals, StartInTheStationaryState) {
  // With on 1 s and off 3 s, three runs in four begin with an off period, of 3 s on average.
  int early = 0;
  constexpr int kRuns = 2000;
  for (int seed = 0; seed < kRuns; ++seed) {
    OnOffArrivals process(1000, std::chrono::seconds(1), std::chrono::seconds(3),
                          RandomStream(static_cast<std::uint64_t>(seed), "arrivals/a"));
    if (*process.Next() < std::chrono::milliseconds(20)) ++early;
  }
  EXPECT_NEAR(early / double{kRuns}, 0.25, 5 * std::sqrt(0.25 * 0.75 / kRuns));
}

// Variance over mean of the counts in windows that follow each other.
double Dispersion(const std::vector<double>& times, double window_s) {
  std::vector<double> counts(static_cast<std::size_t>(times.back() / window_s));
  for (const double t : times) {
    const auto window = static_cast<std::size_t>(t / window_s);
    if (window < counts.size()) ++counts[window];
  }
  double sum = 0;
  double sum2 = 0;
  for (const double count : counts) {
    sum += count;
    sum2 += count * count;
  }
  const double mean = sum / static_cast<double>(counts.size());
  return (sum2 / static_cast<double>(counts.size()) - mean * mean) / mean;
}

TEST(MarkovArrivals, KeepTheMeanRateAndAreAsBurstyAsTheyShould) {
  // 3 s at 40/s and 1 s at 200/s are 80/s.
  MarkovArrivals process(80, {{1, std::chrono::seconds(3)}, {5, std::chrono::seconds(1)}},
                         RandomStream(1, "arrivals/a"));
  const std::vector<double> times = Seconds(process, 1'000'000);
  // About 3 100 cycles of 4 s; the count of one deviates by less than its mean: five sigma are 9 %.
  EXPECT_NEAR(MeanOfGaps(times), 1 / 80.0, 0.09 / 80);
  // Index of dispersion of counts in a window t: 1 + A (1 - (1 - e^-st) / (st)), where s is the sum
  // of the rates q1, q2 of leaving and A = 2 (l1 - l2)^2 q1 q2 / (s^2 (l1 q2 + l2 q1)) (Heffes and
  // Lucantoni, 1986).
  const double q1 = 1 / 3.0;
  const double q2 = 1;
  const double s = q1 + q2;
  const double a = 2 * 160.0 * 160 * q1 * q2 / (s * s * (40 * q2 + 200 * q1));
  for (const double window_s : {0.05, 0.5, 4.0}) {
    const double expected = 1 + a * (1 - (1 - std::exp(-s * window_s)) / (s * window_s));
    EXPECT_NEAR(Dispersion(times, window_s), expected, 0.1 * expected) << window_s;
  }
}

TEST(MarkovArrivals, VisitEveryStateForItsShareOfTheTime) {
  // Three states of which one has arrivals: it lasts 1 s of 6 s, and the others never follow
  // themselves.
  MarkovArrivals process(
      100,
      {{0, std::chrono::seconds(2)}, {1, std::chrono::seconds(1)}, {0, std::chrono::seconds(3)}},
      RandomStream(1, "arrivals/a"));
  const std::vector<double> times = Seconds(process, 500'000);
  EXPECT_NEAR(MeanOfGaps(times), 0.01, 0.01 * 0.2);
  double silent_s = 0;
  int silences = 0;
  for (std::size_t i = 1; i < times.size(); ++i) {
    const double gap_s = times[i] - times[i - 1];
    if (gap_s < 0.05) continue;  // at 600/s no gap within the state
    silent_s += gap_s;
    ++silences;
  }
  // Silences begin in either of the others, and each is left for the other half of the time: they
  // last a = 2 + c / 2 or c = 3 + a / 2, and 5 on average.
  ASSERT_GT(silences, 500);
  EXPECT_NEAR(silent_s / silences, 5, 5 * 5 / std::sqrt(silences));
}

TEST(MarkovArrivals, StartInTheStationaryState) {
  int early = 0;
  constexpr int kRuns = 2000;
  for (int seed = 0; seed < kRuns; ++seed) {
    MarkovArrivals process(1000, {{1, std::chrono::seconds(1)}, {0, std::chrono::seconds(3)}},
                           RandomStream(static_cast<std::uint64_t>(seed), "arrivals/a"));
    if (*process.Next() < std::chrono::milliseconds(10)) ++early;
  }
  EXPECT_NEAR(early / double{kRuns}, 0.25, 5 * std::sqrt(0.25 * 0.75 / kRuns));
}

TEST(DiurnalArrivals, ArePoissonWithTheRateOfTheHour) {
  constexpr double kRate = 50;
  constexpr double kPeriod = 100;
  constexpr double kDepth = 0.8;
  DiurnalArrivals process(kRate, std::chrono::seconds(100), kDepth, 0,
                          RandomStream(1, "arrivals/a"));
  const std::vector<double> times = Seconds(process, 500'000);  // 100 days
  // In the time in which the rate is 1, the integral of the rate, gaps are exponential with mean 1.
  std::vector<double> rescaled;
  double first_half = 0;
  double at_peak = 0;
  for (const double t : times) {
    const double turn = t / kPeriod;
    rescaled.push_back(kRate * (t + kDepth * kPeriod / (2 * std::numbers::pi) *
                                        (1 - std::cos(2 * std::numbers::pi * turn))));
    const double of_day = turn - std::floor(turn);
    if (of_day < 0.5) ++first_half;
    if (std::abs(of_day - 0.25) < 0.01) ++at_peak;
  }
  EXPECT_NEAR(MeanOfGaps(rescaled), 1, 5 / std::sqrt(500'000.0));
  EXPECT_NEAR(GapCv2(rescaled), 1, 0.02);
  EXPECT_NEAR(MeanOfGaps(times), 1 / kRate, 0.01 / kRate) << "whole days have the mean rate";
  EXPECT_NEAR(first_half / 500'000, 0.5 + kDepth / std::numbers::pi, 0.005);
  EXPECT_NEAR(at_peak / 500'000, 0.02 * (1 + kDepth), 0.001);
}

TEST(DiurnalArrivals, PhaseMovesTheDay) {
  // Three quarters of a turn on, the day begins at its quietest: none at all with depth 1.
  DiurnalArrivals quiet(100, std::chrono::seconds(1000), 1, 0.75, RandomStream(1, "arrivals/a"));
  DiurnalArrivals busy(100, std::chrono::seconds(1000), 1, 0.25, RandomStream(1, "arrivals/a"));
  EXPECT_GT(Seconds(quiet, 10).back(), 10 * Seconds(busy, 10).back());
}

TEST(TraceArrivals, PlayAtTheSpeedAskedFor) {
  const auto trace = std::make_shared<const std::vector<double>>(std::vector{0.0, 1.0, 1.0, 4.0});
  TraceArrivals twice(trace, 2);
  EXPECT_THAT(Seconds(twice, 10), ElementsAre(0.0, 0.5, 0.5, 2.0));
  EXPECT_EQ(twice.Next(), std::nullopt);
}

TEST(MakeArrivals, PlaysATraceAtTheRateAskedFor) {
  ArrivalSpec spec;
  spec.kind = Kind::kTrace;
  spec.trace_s = std::make_shared<const std::vector<double>>(std::vector{0.0, 1.0, 4.0});
  EXPECT_DOUBLE_EQ(MeanRate(*spec.trace_s), 0.5);
  EXPECT_THAT(Seconds(*MakeArrivals(spec, 5, 1, "a"), 10), ElementsAre(0.0, 0.1, 0.4));
}

TEST(MakeArrivals, DependsOnSeedAndNameAlone) {
  for (const Kind kind :
       {Kind::kPoisson, Kind::kConstant, Kind::kOnOff, Kind::kMarkov, Kind::kDiurnal}) {
    ArrivalSpec spec;
    spec.kind = kind;
    spec.states = {{1, std::chrono::seconds(1)}, {2, std::chrono::seconds(1)}};
    const std::vector<double> first = Seconds(*MakeArrivals(spec, 10, 7, "a"), 20);
    EXPECT_EQ(Seconds(*MakeArrivals(spec, 10, 7, "a"), 20), first);
    EXPECT_NE(Seconds(*MakeArrivals(spec, 10, 7, "b"), 20), first);
    EXPECT_NE(Seconds(*MakeArrivals(spec, 10, 8, "a"), 20), first);
  }
}

TEST(MakeArrivals, TimesBeyondAnyRunEndTheProcess) {
  EXPECT_EQ(MakeArrivals(ArrivalSpec{}, 1e-12, 1, "a")->Next(), std::nullopt);
}

class ReadTraceTest : public ::testing::Test {
 protected:
  std::shared_ptr<const std::vector<double>> Read(std::string_view text) {
    faults_ = Faults();
    return ReadTrace(folder_.Write("t.csv", text), faults_);
  }
  std::string Fault() const { return faults_.ToString(); }

  TempFolder folder_;
  Faults faults_;
};

TEST_F(ReadTraceTest, TakesTheColumnNamedOrTheFirst) {
  EXPECT_THAT(*Read("arrival_s\n0.000000\n0.052000\n"), ElementsAre(0.0, 0.052));
  EXPECT_THAT(*Read("tokens,arrival_s\r\n7,0.5\r\n9,1.5\r\n"), ElementsAre(0.5, 1.5));
  EXPECT_THAT(*Read("0.5\n1.5"), ElementsAre(0.5, 1.5));
  EXPECT_THAT(*Read("time,x\n1,9\n2,9\n"), ElementsAre(1.0, 2.0));
}

TEST_F(ReadTraceTest, NamesThePlaceOfWhatIsWrong) {
  EXPECT_EQ(Read("n,arrival_s\n1,0.5\n2,soon\n"), nullptr);
  EXPECT_THAT(Fault(), HasSubstr("t.csv:3:3: 'soon' is not a time: expected seconds"));
  EXPECT_EQ(Read("1\n0.5\n"), nullptr);
  EXPECT_THAT(Fault(), HasSubstr("t.csv:2:1: the time lies before"));
  EXPECT_EQ(Read("1\n1\n"), nullptr);
  EXPECT_THAT(Fault(), HasSubstr("at least two different arrival times"));
  EXPECT_EQ(Read("arrival_s\n"), nullptr);
  EXPECT_EQ(Read("1,2\n-1,2\n"), nullptr);
  EXPECT_EQ(Read("x,arrival_s\n1\n"), nullptr);
  EXPECT_EQ(ReadTrace(folder_.At("none.csv"), faults_), nullptr);
}

}  // namespace
}  // namespace duly::workload
