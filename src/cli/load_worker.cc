// SPDX-License-Identifier: Apache-2.0
#include "cli/load_worker.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace duly {
namespace {

constexpr std::uint64_t kWakeKey = ~std::uint64_t{0};
// A turn of the loop takes at most this many arrivals, so that answers do not starve.
constexpr int kArrivalsPerTurn = 64;
constexpr std::size_t kMaxNames = 1000;
constexpr std::size_t kMaxNameBytes = 160;

}  // namespace

std::uint16_t NameTable::Intern(std::string_view name) {
  // A hostile server makes them up.
  const std::string key(name.substr(0, kMaxNameBytes));
  const MutexLock lock(mutex_);
  const auto found = index_.find(key);
  if (found != index_.end()) return found->second;
  if (names_.size() == kMaxNames) return 0;
  const auto index = static_cast<std::uint16_t>(names_.size());
  index_.emplace(key, index);
  names_.push_back(key);
  return index;
}

std::vector<std::string> NameTable::names() {
  const MutexLock lock(mutex_);
  return names_;
}

bool LoadWorker::Poller::Add(int fd, std::uint32_t events, std::uint64_t key) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  return ::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

std::span<const epoll_event> LoadWorker::Poller::Wait(Duration timeout) {
  timeout = std::max(timeout, Duration(0));
  const auto most = static_cast<int>(events_.size());
  int count = -1;
  if (!coarse_) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
    const timespec left{seconds.count(), (timeout - seconds).count()};
    count = ::epoll_pwait2(fd_.get(), events_.data(), most, &left, nullptr);
    coarse_ = count < 0 && (errno == ENOSYS || errno == EPERM);
  }
  if (coarse_) {
    const auto left = std::chrono::floor<std::chrono::milliseconds>(timeout);
    count = ::epoll_wait(fd_.get(), events_.data(), most,
                         static_cast<int>(std::min<std::int64_t>(left.count(), 60000)));
  }
  return {events_.data(), static_cast<std::size_t>(std::max(count, 0))};
}

LoadWorker::LoadWorker(LoadShared& shared, std::uint32_t index)
    : shared_(shared),
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      next_(index),
      step_(shared.options.threads) {
  valid_ = poller_.valid() && wake_.valid() && poller_.Add(wake_.get(), EPOLLIN, kWakeKey);
}

void LoadWorker::Wake() { WakeUp(wake_.get()); }

void LoadWorker::Run() {
  ::pthread_setname_np(::pthread_self(), "duly-load");
  // By default a sleeper may be woken 50 us late.
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  for (;;) {
    const Duration now = shared_.Now();
    CancelDue(now);
    Proceed();
    SendDue(now);
    const bool all_sent = next_ >= shared_.schedule.size() ||
                          shared_.schedule[next_].at > Duration(shared_.last_arrival.load());
    if ((all_sent && idle()) || now >= Duration(shared_.last_answer.load())) break;
    for (const epoll_event& event : poller_.Wait(NextDue() - shared_.Now())) {
      if (event.data.u64 == kWakeKey) {
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t size = ::read(wake_.get(), &count, sizeof(count));
      } else {
        HandleEvent(event.data.u64, event.events);
      }
    }
  }
  Close();
  cpu_s_ = CpuSeconds();
  if (shared_.running.fetch_sub(1) == 1) WakeUp(shared_.ended.get());
}

double LoadWorker::CpuSeconds() const { return CpuSecondsOf(RUSAGE_THREAD); }

double LoadWorker::CpuSecondsOf(int whose) {
  rusage usage{};
  if (::getrusage(whose, &usage) != 0) return 0;
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Duration LoadWorker::NextDue() const {
  Duration due(shared_.last_answer.load());
  if (next_ < shared_.schedule.size()) due = std::min(due, shared_.schedule[next_].at);
  if (!cancellations_.empty()) due = std::min(due, cancellations_.top().at);
  return due;
}

void LoadWorker::SendDue(Duration now) {
  const Duration until = std::min(now, Duration(shared_.last_arrival.load()));
  for (int count = 0; count < kArrivalsPerTurn; ++count) {
    if (next_ >= shared_.schedule.size() || shared_.schedule[next_].at > until) break;
    const auto request = static_cast<std::uint32_t>(next_);
    next_ += step_;
    sent_.fetch_add(1, std::memory_order_relaxed);
    ++in_flight_;
    const workload::Arrival& arrival = shared_.schedule[request];
    if (arrival.cancel) cancellations_.push({arrival.at + target(request).cancel_after, request});
    Send(request);
  }
}

void LoadWorker::CancelDue(Duration now) {
  for (; !cancellations_.empty() && cancellations_.top().at <= now; cancellations_.pop()) {
    Cancel(cancellations_.top().request);
  }
}

bool LoadWorker::End(std::uint32_t request, Outcome outcome) {
  if (record(request).outcome) return false;
  record(request).outcome = outcome;
  --in_flight_;
  ended_[static_cast<std::size_t>(outcome)].fetch_add(1, std::memory_order_relaxed);
  return true;
}

std::uint16_t LoadWorker::Name(std::string_view name) {
  constexpr std::size_t kKnown = 32;
  for (const auto& [known, index] : known_names_) {
    if (known == name) return index;
  }
  const std::uint16_t index = shared_.names.Intern(name);
  if (known_names_.size() < kKnown) known_names_.emplace_back(name, index);
  return index;
}

void WakeUp(int event_fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t size = ::write(event_fd, &one, sizeof(one));
}

}  // namespace duly
