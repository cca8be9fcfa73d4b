// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "base/time.h"

namespace duly {

// Whether a thread that has run out of events should look for the next one for a moment before it
// sleeps. An idle core takes longer to wake up than a short request takes to serve, so looking pays
// where events follow one another closely; it costs another thread's time where several of them
// share the cores, and energy where the next event is far.
//
// So it pays once the last kTurns turns were all this thread's and each came soon, and no longer as
// soon as one did not: of all turns, at most one in kTurns + 1 was looked for in vain.
class PollGate {
 public:
  // How long to look.
  static constexpr Duration kLimit = std::chrono::microseconds(100);
  // How soon an event comes that looking may find: asleep, the wake-ups of this thread and of the
  // client come on top, each of which takes a virtual machine's idle core 100 us and more.
  static constexpr Duration kLimitAsleep = 5 * kLimit;
  static constexpr std::uint32_t kTurns = 8;

  // turn: the number of this turn among those of all threads; waited: for its first event.
  void OnTurn(std::uint64_t turn, Duration waited) {
    const bool alone = turn == last_turn_ + 1;
    last_turn_ = turn;
    quick_ = alone && waited <= (open() ? kLimit : kLimitAsleep) ? quick_ + 1 : 0;
  }

  bool open() const { return quick_ >= kTurns; }

 private:
  std::uint64_t last_turn_ = 0;
  std::uint64_t quick_ = 0;
};

}  // namespace duly
