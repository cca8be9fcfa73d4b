// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "sim/link.h"
#include "sim/temperature.h"

namespace duly::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TimePoint AtMs(std::int64_t ms) { return TimePoint(milliseconds(ms)); }

TEST(Temperature, TendsToTheBalanceOfItsPower) {
  ThermalSpec spec;
  spec.ambient_c = 20;
  spec.resistance_c_per_w = 5;
  spec.time_constant = seconds(40);
  Temperature temperature(spec, 2);
  EXPECT_DOUBLE_EQ(temperature.celsius(), 30);
  for (int i = 1; i <= 400; ++i) {
    temperature.Advance(milliseconds(200), 10);
    const double exact = 70 - 40 * std::exp(-0.2 * i / 40);
    EXPECT_NEAR(temperature.celsius(), exact, 0.1);
  }
  for (int i = 0; i < 10; ++i) temperature.Advance(seconds(4000), 0);
  EXPECT_NEAR(temperature.celsius(), 20, 1e-6) << "long steps are stable";
}

TEST(Link, MessagesGoOneBehindAnother) {
  Link link({milliseconds(5), 1e6, 0, Duration(0)}, RandomStream(1, "l"));
  EXPECT_EQ(link.Arrival(AtMs(0), 10'000), AtMs(15));
  EXPECT_EQ(link.Arrival(AtMs(2), 20'000), AtMs(35));
  EXPECT_EQ(link.Arrival(AtMs(100), 0), AtMs(105));
}

TEST(Link, WithoutABoundMessagesDoNotMeet) {
  Link link({milliseconds(5), 0, 0, Duration(0)}, RandomStream(1, "l"));
  EXPECT_EQ(link.Arrival(AtMs(0), 1'000'000), AtMs(5));
  EXPECT_EQ(link.Arrival(AtMs(0), 1'000'000), AtMs(5));
}

// Tries are geometric: p / (1 - p) more on the mean; four standard errors.
TEST(Link, LostMessagesAreSentAgain) {
  constexpr double kLoss = 0.2;
  constexpr int kCount = 20000;
  Link link({milliseconds(5), 1e6, kLoss, milliseconds(50)}, RandomStream(1, "l"));
  double late_ms = 0;
  for (int i = 0; i < kCount; ++i) {
    const TimePoint sent = AtMs(10'000 * i);
    late_ms += ToMillis(link.Arrival(sent, 10'000) - sent) - 15;
  }
  const double mean = kLoss / (1 - kLoss);
  const double deviation = std::sqrt(kLoss) / (1 - kLoss);
  EXPECT_NEAR(late_ms / kCount / 60, mean, 4 * deviation / std::sqrt(kCount));
}

}  // namespace
}  // namespace duly::sim
