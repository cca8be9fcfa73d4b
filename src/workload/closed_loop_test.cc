// SPDX-License-Identifier: Apache-2.0
#include "workload/closed_loop.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace duly::workload {
namespace {

using std::chrono::milliseconds;

// When its clients send, if each is answered after `answer`.
std::vector<std::vector<Duration>> Sends(Duration answer, std::uint64_t seed = 1) {
  ClosedLoop loop(3, milliseconds(100), seed, "a");
  std::vector<std::vector<Duration>> sends(3);
  Duration before{0};
  for (int i = 0; i < 3000; ++i) {
    const Duration at = loop.NextTime().value();
    EXPECT_GE(at, before);
    before = at;
    const std::uint32_t client = loop.Take();
    sends[client].push_back(at);
    loop.Answered(client, at + answer);
  }
  return sends;
}

TEST(ClosedLoop, ThoughtsAreTheSameWhateverTheAnswersTake) {
  const auto quick = Sends(milliseconds(0));
  const auto slow = Sends(milliseconds(70));
  for (std::size_t client = 0; client < 3; ++client) {
    ASSERT_GT(slow[client].size(), 500U);
    for (std::size_t n = 0; n < 500; ++n) {
      EXPECT_EQ(slow[client][n] - quick[client][n], n * milliseconds(70));
    }
  }
  EXPECT_NE(quick[0], quick[1]);
  EXPECT_NE(quick, Sends(milliseconds(0), 2));
}

// Four standard errors of the mean of 1000 exponential times.
TEST(ClosedLoop, ThinksForItsMean) {
  for (const std::vector<Duration>& sends : Sends(milliseconds(0))) {
    const double mean_ms = ToMillis(sends.back()) / static_cast<double>(sends.size());
    EXPECT_NEAR(mean_ms, 100, 4 * 100 / std::sqrt(static_cast<double>(sends.size())));
  }
}

TEST(ClosedLoop, SendsNothingWhileAllWait) {
  ClosedLoop loop(1, milliseconds(100), 1, "a");
  EXPECT_EQ(loop.Take(), 0U);
  EXPECT_EQ(loop.NextTime(), std::nullopt);
  loop.Answered(0, milliseconds(5000));
  EXPECT_GT(loop.NextTime().value(), milliseconds(5000));
}

}  // namespace
}  // namespace duly::workload
