// SPDX-License-Identifier: Apache-2.0
#include "workload/arrivals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

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
  for (const Kind kind : {Kind::kPoisson, Kind::kConstant, Kind::kOnOff}) {
    ArrivalSpec spec;
    spec.kind = kind;
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
