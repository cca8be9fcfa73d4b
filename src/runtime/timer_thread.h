// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/time.h"

namespace duly {

// One thread that calls back at the earliest time it was armed for.
// Threading: Arm from any thread; the callback runs on the timer's own thread, without locks.
class TimerThread {
 public:
  // The callback may call Arm. It is also called when nothing is due any more: it looks for itself.
  explicit TimerThread(std::function<void()> callback);
  ~TimerThread();
  TimerThread(const TimerThread&) = delete;
  TimerThread& operator=(const TimerThread&) = delete;

  // Calls back at `when` or earlier. kNever has no effect.
  void Arm(TimePoint when);

 private:
  void Loop(const std::stop_token& stop);

  const std::function<void()> callback_;
  std::mutex mutex_;
  std::condition_variable changed_;
  TimePoint armed_ = kNever;  // guarded by mutex_
  std::jthread thread_;       // last: it uses the others
};

}  // namespace duly
