// SPDX-License-Identifier: Apache-2.0
#include "runtime/timer_thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <utility>

#include "runtime/steady_clock.h"

namespace duly {

TimerThread::TimerThread(std::function<void()> callback)
    : callback_(std::move(callback)),
      thread_([this](const std::stop_token& stop) { Loop(stop); }) {}

TimerThread::~TimerThread() {
  thread_.request_stop();
  const std::lock_guard lock(mutex_);
  changed_.notify_one();
}

void TimerThread::Arm(TimePoint when) {
  const std::lock_guard lock(mutex_);
  if (when >= armed_) return;
  armed_ = when;
  changed_.notify_one();
}

void TimerThread::Loop(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "duly-timer");
  // The kernel may otherwise delay a wake-up by 50 us to save energy.
  prctl(PR_SET_TIMERSLACK, 1UL);
  // Ahead of the threads that compute: as one of them it would wait for its turn, some ms. Refused
  // without CAP_SYS_NICE or RLIMIT_RTPRIO; it does its work all the same, later.
  const sched_param first{.sched_priority = 1};
  pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
  const SteadyClock clock;
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (armed_ == kNever) {
      changed_.wait(lock);
    } else if (clock.Now() < armed_) {
      changed_.wait_until(lock, SteadyClock::ToStd(armed_));
    } else {
      armed_ = kNever;
      lock.unlock();
      callback_();
      lock.lock();
    }
  }
}

}  // namespace duly
