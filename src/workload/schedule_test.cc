// SPDX-License-Identifier: Apache-2.0
#include "workload/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace duly::workload {
namespace {

ApplicationLoad Load(const std::string& name, double rate_per_s) {
  ApplicationLoad load;
  load.spec.name = name;
  load.spec.rate_per_s = rate_per_s;
  return load;
}

std::vector<Arrival> Of(const std::vector<Arrival>& schedule, std::uint32_t application) {
  std::vector<Arrival> own;
  std::copy_if(schedule.begin(), schedule.end(), std::back_inserter(own),
               [&](const Arrival& a) { return a.application == application; });
  return own;
}

TEST(MakeSchedule, MergesTheApplicationsByTime) {
  const std::vector<ApplicationLoad> mix = {Load("a", 100), Load("b", 300)};
  const std::vector<Arrival> schedule = *MakeSchedule(mix, 1, 1, std::chrono::seconds(20));
  EXPECT_TRUE(std::is_sorted(schedule.begin(), schedule.end(),
                             [](const Arrival& a, const Arrival& b) { return a.at < b.at; }));
  EXPECT_LT(schedule.back().at, std::chrono::seconds(20));
  // Poisson counts: five standard deviations.
  EXPECT_NEAR(static_cast<double>(Of(schedule, 0).size()), 2000, 5 * std::sqrt(2000));
  EXPECT_NEAR(static_cast<double>(Of(schedule, 1).size()), 6000, 5 * std::sqrt(6000));
  for (std::uint32_t application : {0U, 1U}) {
    const std::vector<Arrival> own = Of(schedule, application);
    for (std::uint32_t i = 0; i < own.size(); ++i) ASSERT_EQ(own[i].sequence, i);
  }
}

TEST(MakeSchedule, IsTheSameEachTimeAndUnmovedByOtherApplications) {
  const std::vector<ApplicationLoad> one = {Load("a", 100)};
  const std::vector<ApplicationLoad> two = {Load("a", 100), Load("b", 10)};
  const Duration end = std::chrono::seconds(5);
  const std::vector<Arrival> alone = *MakeSchedule(one, 1, 42, end);
  EXPECT_EQ(*MakeSchedule(one, 1, 42, end), alone);
  EXPECT_EQ(Of(*MakeSchedule(two, 1, 42, end), 0), alone);
  EXPECT_NE(*MakeSchedule(one, 1, 43, end), alone);
}

TEST(MakeSchedule, LoadFactorMultipliesEveryRate) {
  ApplicationLoad trace = Load("b", 0);
  trace.arrivals.kind = ArrivalSpec::Kind::kTrace;
  trace.arrivals.trace_s = std::make_shared<const std::vector<double>>(std::vector{0.0, 1.0, 4.0});
  trace.spec.rate_per_s = MeanRate(*trace.arrivals.trace_s);
  const std::vector<ApplicationLoad> mix = {Load("a", 100), trace};
  const std::vector<Arrival> schedule = *MakeSchedule(mix, 2, 1, std::chrono::seconds(20));
  EXPECT_NEAR(static_cast<double>(Of(schedule, 0).size()), 4000, 5 * std::sqrt(4000));
  EXPECT_EQ(Of(schedule, 1).back().at, std::chrono::seconds(2));
}

TEST(MakeSchedule, MarksTheShareToBeCancelledWithoutMovingArrivals) {
  std::vector<ApplicationLoad> mix = {Load("a", 1000)};
  const std::vector<Arrival> patient = *MakeSchedule(mix, 1, 1, std::chrono::seconds(10));
  mix[0].cancel_share = 0.2;
  const std::vector<Arrival> schedule = *MakeSchedule(mix, 1, 1, std::chrono::seconds(10));
  ASSERT_EQ(schedule.size(), patient.size());
  for (std::size_t i = 0; i < schedule.size(); ++i) ASSERT_EQ(schedule[i].at, patient[i].at);
  const auto marked = std::count_if(schedule.begin(), schedule.end(),
                                    [](const Arrival& arrival) { return arrival.cancel; });
  const double n = static_cast<double>(schedule.size());
  EXPECT_NEAR(static_cast<double>(marked), 0.2 * n, 5 * std::sqrt(0.2 * 0.8 * n));
  EXPECT_TRUE(std::none_of(patient.begin(), patient.end(),
                           [](const Arrival& arrival) { return arrival.cancel; }));
}

TEST(MakeSchedule, RefusesMoreThanMemoryShouldHold) {
  const std::vector<ApplicationLoad> mix = {Load("a", 1e12)};
  EXPECT_EQ(MakeSchedule(mix, 1, 1, std::chrono::seconds(1)).error().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace duly::workload
