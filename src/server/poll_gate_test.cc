// SPDX-License-Identifier: Apache-2.0
#include "server/poll_gate.h"

#include <gtest/gtest.h>

namespace duly {
namespace {

constexpr Duration kQuick = PollGate::kLimit;
constexpr Duration kMissed = PollGate::kLimit + Duration(1);
constexpr Duration kSlow = PollGate::kLimitAsleep + Duration(1);

// Takes `count` turns, `step` apart among those of all threads.
std::uint64_t TakeTurns(PollGate& gate, std::uint64_t turn, std::uint32_t count, std::uint64_t step,
                        Duration waited) {
  for (std::uint32_t i = 0; i < count; ++i) gate.OnTurn(turn += step, waited);
  return turn;
}

TEST(PollGateTest, OpensAfterEnoughQuickTurnsInARow) {
  PollGate gate;
  EXPECT_FALSE(gate.open());
  TakeTurns(gate, 0, PollGate::kTurns - 1, 1, PollGate::kLimitAsleep);
  EXPECT_FALSE(gate.open());
  TakeTurns(gate, PollGate::kTurns - 1, 1, 1, PollGate::kLimitAsleep);
  EXPECT_TRUE(gate.open());
}

TEST(PollGateTest, TurnsThatAreSlowEvenAsleepKeepItShut) {
  PollGate gate;
  TakeTurns(gate, 0, 10 * PollGate::kTurns, 1, kSlow);
  EXPECT_FALSE(gate.open());
}

TEST(PollGateTest, LookingInVainShutsItForAsManyTurnsAgain) {
  PollGate gate;
  std::uint64_t turn = TakeTurns(gate, 0, 3 * PollGate::kTurns, 1, kQuick);
  turn = TakeTurns(gate, turn, 1, 1, kMissed);
  EXPECT_FALSE(gate.open());
  turn = TakeTurns(gate, turn, PollGate::kTurns - 1, 1, kQuick);
  EXPECT_FALSE(gate.open());
  TakeTurns(gate, turn, 1, 1, kQuick);
  EXPECT_TRUE(gate.open());
}

TEST(PollGateTest, TurnsOfOtherThreadsShutIt) {
  PollGate gate;
  const std::uint64_t turn = TakeTurns(gate, 0, PollGate::kTurns, 1, kQuick);
  EXPECT_TRUE(gate.open());
  TakeTurns(gate, turn, 1, 2, kQuick);
  EXPECT_FALSE(gate.open());
}

TEST(PollGateTest, StaysShutWhileThreadsTakeTurns) {
  PollGate gate;
  TakeTurns(gate, 0, 10 * PollGate::kTurns, 2, kQuick);
  EXPECT_FALSE(gate.open());
}

}  // namespace
}  // namespace duly
