// SPDX-License-Identifier: Apache-2.0
#include "engine/loss_window.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace duly {
namespace {

constexpr Loss kPoint = 1'000'000;

TEST(LossOf, IsWhatTheServedVariantLacks) {
  EXPECT_EQ(LossOf(77.6, 75.1), 2'500'000U);
  EXPECT_EQ(LossOf(92.85, 92.27), 580'000U);
  EXPECT_EQ(LossOf(75, 75), 0U);
  EXPECT_EQ(LossOf(75, 80), 0U);
}

TEST(LossWindow, ChargesUntilTheLimitAndGetsRoomBack) {
  LossWindow window({.mean_loss_pct = 0.5, .answers = 10});
  EXPECT_EQ(window.room(), 5 * kPoint);
  window.Charge(3 * kPoint);
  window.Charge(2 * kPoint);
  EXPECT_EQ(window.room(), 0U);
  window.Return(3 * kPoint);
  EXPECT_EQ(window.room(), 3 * kPoint);
  window.Answered(2 * kPoint, kPoint);
  EXPECT_EQ(window.room(), 4 * kPoint);
  EXPECT_DOUBLE_EQ(window.mean_pct(), 1);
  for (int i = 0; i < 9; ++i) window.Answered(0, 0);
  EXPECT_DOUBLE_EQ(window.mean_pct(), 0.1);
  EXPECT_EQ(window.room(), 4 * kPoint);
  window.Answered(0, 0);  // the oldest leaves
  EXPECT_EQ(window.room(), 5 * kPoint);
  EXPECT_DOUBLE_EQ(window.mean_pct(), 0);
}

TEST(LossWindow, HoldsOverAnyConsecutiveAnswersInWhateverOrderTheyEnd) {
  constexpr std::size_t kAnswers = 20;
  LossWindow window({.mean_loss_pct = 0.7, .answers = kAnswers});
  RandomStream random(5, "loss window");
  std::vector<Loss> charges;
  std::vector<std::uint64_t> lost;
  bool was_full = false;
  for (int step = 0; step < 20'000; ++step) {
    const Loss wanted = static_cast<Loss>(random.Below(4)) * kPoint;
    if (random.Below(2) == 0 && wanted <= window.room()) {
      window.Charge(wanted);
      charges.push_back(wanted);
    }
    was_full = was_full || window.room() == 0;
    if (charges.empty() || random.Below(2) == 0) continue;
    const std::size_t which = random.Below(charges.size());
    const Loss charged = charges[which];
    charges[which] = charges.back();
    charges.pop_back();
    if (random.Below(10) == 0) {
      window.Return(charged);
      continue;
    }
    lost.push_back(random.Below(3) == 0 ? 0 : charged);
    window.Answered(charged, static_cast<Loss>(lost.back()));
    std::uint64_t sum = 0;
    for (std::size_t i = lost.size() - std::min(lost.size(), kAnswers); i < lost.size(); ++i) {
      sum += lost[i];
    }
    ASSERT_LE(sum, 14U * kPoint);
  }
  EXPECT_TRUE(was_full);
}

}  // namespace
}  // namespace duly
