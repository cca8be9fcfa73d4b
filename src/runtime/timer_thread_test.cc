// SPDX-License-Identifier: Apache-2.0
#include "runtime/timer_thread.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <future>
#include <thread>
#include <utility>

#include "runtime/steady_clock.h"

namespace duly {
namespace {

int PolicyOfThisThread() {
  int policy = -1;
  sched_param parameters{};
  pthread_getschedparam(pthread_self(), &policy, &parameters);
  return policy;
}

TEST(TimerThread, CallsBackAtTheEarliestTimeAndNeverEarly) {
  const SteadyClock clock;
  std::promise<TimePoint> called;
  bool first = true;
  TimerThread timer([&] {
    if (std::exchange(first, false)) called.set_value(clock.Now());
  });
  const TimePoint soon = clock.Now() + std::chrono::milliseconds(2);
  timer.Arm(soon + std::chrono::hours(1));
  timer.Arm(soon);
  timer.Arm(soon + std::chrono::hours(2));
  EXPECT_GE(called.get_future().get(), soon);
}

TEST(TimerThread, GoesBeforeOtherThreadsWhereThatIsPermitted) {
  int expected = SCHED_OTHER;
  std::thread([&] {
    const sched_param first{.sched_priority = 1};
    if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &first) == 0) expected = SCHED_FIFO;
  }).join();
  std::promise<int> policy;
  bool first = true;
  TimerThread timer([&] {
    if (std::exchange(first, false)) policy.set_value(PolicyOfThisThread());
  });
  timer.Arm(SteadyClock().Now());
  EXPECT_EQ(policy.get_future().get(), expected);
}

}  // namespace
}  // namespace duly
