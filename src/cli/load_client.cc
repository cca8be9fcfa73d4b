// SPDX-License-Identifier: Apache-2.0
#include "cli/load_client.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <deque>
#include <functional>
#include <queue>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "cli/http_response.h"
#include "cli/load_answer.h"

namespace duly {
namespace {

using workload::Arrival;
using SteadyClock = std::chrono::steady_clock;

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
// A turn of the loop takes at most this many arrivals and events, so that neither starves the
// other.
constexpr int kEventsPerTurn = 64;
constexpr std::size_t kMaxNames = 1000;
constexpr std::size_t kMaxNameBytes = 160;

void Wake(int event_fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t size = ::write(event_fd, &one, sizeof(one));
}

// Names that answers bring along, as small numbers. Threading: any.
class NameTable {
 public:
  NameTable() { Intern(""); }

  std::uint16_t Intern(std::string_view name) DULY_EXCLUDES(mutex_) {
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

  std::vector<std::string> names() DULY_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return names_;
  }

 private:
  Mutex mutex_;
  std::unordered_map<std::string, std::uint16_t> index_ DULY_GUARDED_BY(mutex_);
  std::vector<std::string> names_ DULY_GUARDED_BY(mutex_);
};

// epoll_pwait2 has nanoseconds where epoll_wait has milliseconds. Kernels before 5.11 lack it: they
// get whole milliseconds, rounded down, and the rest is spent asking again.
class Poller {
 public:
  Poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {}
  bool valid() const { return fd_.valid(); }

  bool Add(int fd, std::uint32_t events, std::uint64_t key) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = key;
    return ::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }

  std::span<const epoll_event> Wait(Duration timeout) {
    timeout = std::max(timeout, Duration(0));
    int count = -1;
    if (!coarse_) {
      const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
      const timespec left{seconds.count(), (timeout - seconds).count()};
      count = ::epoll_pwait2(fd_.get(), events_.data(), kEventsPerTurn, &left, nullptr);
      coarse_ = count < 0 && (errno == ENOSYS || errno == EPERM);
    }
    if (coarse_) {
      const auto left = std::chrono::floor<std::chrono::milliseconds>(timeout);
      count = ::epoll_wait(fd_.get(), events_.data(), kEventsPerTurn,
                           static_cast<int>(std::min<std::int64_t>(left.count(), 60000)));
    }
    return {events_.data(), static_cast<std::size_t>(std::max(count, 0))};
  }

 private:
  UniqueFd fd_;
  std::array<epoll_event, kEventsPerTurn> events_{};
  bool coarse_ = false;
};

}  // namespace

Outcome ClassifyAnswer(int http_status, Duration latency, std::optional<Duration> slo) {
  if (http_status >= 200 && http_status < 300) {
    return slo && latency > *slo ? Outcome::kLate : Outcome::kOnTime;
  }
  if (http_status == 503 || http_status == 429) return Outcome::kRejected;
  if (http_status == 504) return Outcome::kExpired;
  return Outcome::kFailed;
}

struct LoadClient::Shared {
  Options options;
  std::span<const LoadTarget> targets;
  std::span<const Arrival> schedule;
  SteadyClock::time_point start;
  std::vector<LoadRecord> records;
  NameTable names;
  UniqueFd ended;
  std::atomic<std::uint32_t> running{0};

  // Offsets from the start, in nanoseconds; moved to earlier times by Stop.
  std::atomic<std::int64_t> last_arrival{0};
  std::atomic<std::int64_t> last_answer{0};
  std::atomic<bool> stopped{false};

  Duration Now() const { return SteadyClock::now() - start; }
};

// Sends every n-th request of the schedule. One thread runs it; the atomics are read by others.
class LoadClient::Worker {
 public:
  Worker(Shared& shared, std::uint32_t index)
      : shared_(shared),
        wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
        next_(index),
        step_(shared.options.threads),
        max_connections_(std::max(1U, shared.options.max_connections / shared.options.threads)) {}

  bool valid() {
    return poller_.valid() && wake_.valid() && poller_.Add(wake_.get(), EPOLLIN, kWakeKey);
  }
  void Begin() {
    thread_ = std::jthread([this] { Run(); });
  }
  void Wake() { duly::Wake(wake_.get()); }
  void Join() { thread_.join(); }  // once

  std::size_t connections_opened() const { return connections_opened_; }
  double cpu_s() const { return cpu_s_; }
  std::uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
  std::uint64_t ended(Outcome outcome) const {
    return ended_[static_cast<std::size_t>(outcome)].load(std::memory_order_relaxed);
  }

 private:
  struct Connection {
    UniqueFd fd;
    std::uint32_t generation = 0;  // of the descriptor: events of an earlier one are stale
    bool connected = false;
    std::uint32_t request = kNone;  // index into the schedule; kNone: idle
    std::size_t written = 0;        // bytes of the request
    HttpResponseReader reader;
  };
  struct Cancellation {
    Duration at;
    std::uint32_t request;

    friend bool operator>(const Cancellation& a, const Cancellation& b) { return a.at > b.at; }
  };
  static constexpr std::uint64_t kWakeKey = ~std::uint64_t{0};

  LoadRecord& record(std::uint32_t request) { return shared_.records[request]; }
  const LoadTarget& target(std::uint32_t request) const {
    return shared_.targets[shared_.schedule[request].application];
  }

  void Run();
  Duration NextDue() const;
  void SendDue(Duration now);
  void CancelDue(Duration now);
  // Gives waiting requests to connections, as far as there are any.
  void AssignWaiting();
  void Assign(std::uint32_t request);
  // Puts a descriptor under the connection; a failure says why there is none.
  Status Open(std::uint32_t index);
  void Close(std::uint32_t index);
  void HandleEvent(std::uint32_t index, std::uint32_t events);
  void HandleConnect(std::uint32_t index);
  void Write(std::uint32_t index);
  void Read(std::uint32_t index, std::uint32_t events);
  void Answered(std::uint32_t index, std::uint32_t events);
  void Fail(std::uint32_t index, std::string_view why);
  // The request has its outcome.
  void End(std::uint32_t request, Outcome outcome);
  std::uint16_t Name(std::string_view name);

  Shared& shared_;
  Poller poller_;
  UniqueFd wake_;
  std::size_t next_;  // index into the schedule
  const std::size_t step_;
  const std::size_t max_connections_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::uint32_t> idle_;    // connections; the most recently used is last
  std::vector<std::uint32_t> closed_;  // connections without a descriptor
  std::deque<std::uint32_t> waiting_;  // requests for connections; some may have been cancelled
  std::priority_queue<Cancellation, std::vector<Cancellation>, std::greater<>> cancellations_;
  std::size_t in_flight_ = 0;  // requests sent or waiting
  std::vector<iovec> parts_;
  AnswerReader answers_;
  std::vector<std::pair<std::string, std::uint16_t>> known_names_;
  std::size_t connections_opened_ = 0;
  double cpu_s_ = 0;
  std::atomic<std::uint64_t> sent_{0};
  std::array<std::atomic<std::uint64_t>, kOutcomeCount> ended_{};
  std::jthread thread_;
};

void LoadClient::Worker::Run() {
  ::pthread_setname_np(::pthread_self(), "duly-load");
  // By default a sleeper may be woken 50 us late.
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  for (;;) {
    const Duration now = shared_.Now();
    CancelDue(now);
    AssignWaiting();
    SendDue(now);
    const bool all_sent = next_ >= shared_.schedule.size() ||
                          shared_.schedule[next_].at > Duration(shared_.last_arrival.load());
    if ((all_sent && in_flight_ == 0) || now >= Duration(shared_.last_answer.load())) break;
    for (const epoll_event& event : poller_.Wait(NextDue() - shared_.Now())) {
      if (event.data.u64 == kWakeKey) {
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t size = ::read(wake_.get(), &count, sizeof(count));
        continue;
      }
      const auto index = static_cast<std::uint32_t>(event.data.u64);
      if (connections_[index]->generation == event.data.u64 >> 32) HandleEvent(index, event.events);
    }
  }
  connections_.clear();
  rusage usage{};
  if (::getrusage(RUSAGE_THREAD, &usage) == 0) {
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    cpu_s_ = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  if (shared_.running.fetch_sub(1) == 1) duly::Wake(shared_.ended.get());
}

Duration LoadClient::Worker::NextDue() const {
  Duration due(shared_.last_answer.load());
  if (next_ < shared_.schedule.size()) due = std::min(due, shared_.schedule[next_].at);
  if (!cancellations_.empty()) due = std::min(due, cancellations_.top().at);
  return due;
}

void LoadClient::Worker::SendDue(Duration now) {
  const Duration until = std::min(now, Duration(shared_.last_arrival.load()));
  for (int count = 0; count < kEventsPerTurn; ++count) {
    if (next_ >= shared_.schedule.size() || shared_.schedule[next_].at > until) break;
    const auto request = static_cast<std::uint32_t>(next_);
    next_ += step_;
    sent_.fetch_add(1, std::memory_order_relaxed);
    ++in_flight_;
    const Arrival& arrival = shared_.schedule[request];
    if (arrival.cancel) cancellations_.push({arrival.at + target(request).cancel_after, request});
    waiting_.push_back(request);
    AssignWaiting();
  }
}

void LoadClient::Worker::CancelDue(Duration now) {
  for (; !cancellations_.empty() && cancellations_.top().at <= now; cancellations_.pop()) {
    const std::uint32_t request = cancellations_.top().request;
    if (record(request).outcome) continue;
    End(request, Outcome::kCancelled);
    const auto holder =
        std::find_if(connections_.begin(), connections_.end(),
                     [request](const auto& connection) { return connection->request == request; });
    if (holder != connections_.end()) {
      Close(static_cast<std::uint32_t>(holder - connections_.begin()));
    }
  }
}

void LoadClient::Worker::AssignWaiting() {
  while (!waiting_.empty()) {
    if (idle_.empty() && closed_.empty() && connections_.size() == max_connections_) return;
    const std::uint32_t request = waiting_.front();
    waiting_.pop_front();
    if (!record(request).outcome) Assign(request);
  }
}

void LoadClient::Worker::Assign(std::uint32_t request) {
  record(request).send_lateness = shared_.Now() - shared_.schedule[request].at;
  std::uint32_t index = 0;
  if (!idle_.empty()) {
    index = idle_.back();
    idle_.pop_back();
  } else {
    if (closed_.empty()) {
      closed_.push_back(static_cast<std::uint32_t>(connections_.size()));
      connections_.push_back(std::make_unique<Connection>());
    }
    index = closed_.back();
    if (const Status status = Open(index); !status.ok()) {
      record(request).detail = Name(status.message());
      End(request, Outcome::kFailed);
      return;
    }
    closed_.pop_back();
  }
  Connection& connection = *connections_[index];
  connection.request = request;
  connection.written = 0;
  if (connection.connected) Write(index);
}

Status LoadClient::Worker::Open(std::uint32_t index) {
  Connection& connection = *connections_[index];
  Result<UniqueFd> fd = BeginConnect(shared_.options.endpoint);
  if (!fd) return fd.error();
  const std::uint64_t key = std::uint64_t{connection.generation} << 32 | index;
  if (!poller_.Add(fd->get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, key)) {
    return Status(StatusCode::kInternal, "epoll: " + std::generic_category().message(errno));
  }
  connection.fd = std::move(*fd);
  ++connections_opened_;
  return Status();
}

void LoadClient::Worker::Close(std::uint32_t index) {
  Connection& connection = *connections_[index];
  connection.fd.Reset(-1);
  ++connection.generation;
  connection.connected = false;
  connection.request = kNone;
  connection.reader.Reset();
  closed_.push_back(index);
}

void LoadClient::Worker::HandleEvent(std::uint32_t index, std::uint32_t events) {
  Connection& connection = *connections_[index];
  if (!connection.connected) return HandleConnect(index);
  const bool readable = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (connection.request == kNone) {
    // Closed by the server, or data that nobody asked for.
    if (!readable) return;
    std::erase(idle_, index);
    Close(index);
    return;
  }
  const std::uint32_t generation = connection.generation;
  if ((events & EPOLLOUT) != 0) Write(index);
  if (readable && connection.generation == generation) Read(index, events);
}

void LoadClient::Worker::HandleConnect(std::uint32_t index) {
  Connection& connection = *connections_[index];
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(connection.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    Fail(index, "cannot connect: " + std::generic_category().message(error));
    return;
  }
  connection.connected = true;
  Write(index);
}

void LoadClient::Worker::Write(std::uint32_t index) {
  Connection& connection = *connections_[index];
  const LoadTarget& to = target(connection.request);
  const std::size_t size = to.size();
  while (connection.written < size) {
    to.Gather(shared_.schedule[connection.request].sequence, parts_);
    iovec* part = parts_.data();
    std::size_t skip = connection.written;
    for (; skip >= part->iov_len; ++part) skip -= part->iov_len;
    part->iov_base = static_cast<char*>(part->iov_base) + skip;
    part->iov_len -= skip;
    msghdr message{};
    message.msg_iov = part;
    message.msg_iovlen = static_cast<std::size_t>(parts_.data() + parts_.size() - part);
    const ssize_t sent = ::sendmsg(connection.fd.get(), &message, MSG_NOSIGNAL);
    if (sent >= 0) {
      connection.written += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      // A server that closed may have answered first.
      return Read(index, EPOLLHUP);
    }
  }
}

void LoadClient::Worker::Read(std::uint32_t index, std::uint32_t events) {
  HttpResponseReader& reader = connections_[index]->reader;
  using State = HttpResponseReader::State;
  const bool ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  State state = State::kMore;
  while (state == State::kMore) {
    const std::span<char> space = reader.Space();
    const ssize_t size = ::recv(connections_[index]->fd.get(), space.data(), space.size(), 0);
    if (size > 0) {
      state = reader.Add(static_cast<std::size_t>(size));
      // Nothing is left for now; the next arrival of data is another event.
      const bool drained = static_cast<std::size_t>(size) < space.size();
      if (state == State::kMore && drained && !ending) return;
    } else if (size == 0) {
      state = reader.End();
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      return Fail(index, std::generic_category().message(errno));
    }
  }
  if (state == State::kDone) {
    Answered(index, events);
  } else {
    Fail(index, reader.error());
  }
}

void LoadClient::Worker::Answered(std::uint32_t index, std::uint32_t events) {
  Connection& connection = *connections_[index];
  const std::uint32_t request = connection.request;
  const Arrival& arrival = shared_.schedule[request];
  const LoadTarget& from = target(request);
  LoadRecord& answer = record(request);
  answer.latency = shared_.Now() - arrival.at;
  answer.status = connection.reader.status();
  Outcome outcome = ClassifyAnswer(answer.status, answer.latency, from.slo);
  if (IsAnswer(outcome)) {
    if (const std::optional<Answer> said =
            answers_.Read(connection.reader, from, arrival.sequence)) {
      answer.numbers = said->numbers;
      answer.variant = Name(said->variant);
      answer.device = Name(said->device);
    } else {
      answer.detail = Name("the answer is not an inference response");
      outcome = Outcome::kFailed;
    }
  } else if (outcome != Outcome::kExpired) {
    answer.detail = Name(answers_.ReadReason(connection.reader));
  }
  End(request, outcome);
  const bool ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (ending || !connection.reader.keep_alive() || connection.written < from.size()) {
    Close(index);
    return;
  }
  connection.request = kNone;
  connection.reader.Reset();
  idle_.push_back(index);
}

void LoadClient::Worker::Fail(std::uint32_t index, std::string_view why) {
  const std::uint32_t request = connections_[index]->request;
  record(request).detail = Name(why);
  End(request, Outcome::kFailed);
  Close(index);
}

void LoadClient::Worker::End(std::uint32_t request, Outcome outcome) {
  record(request).outcome = outcome;
  --in_flight_;
  ended_[static_cast<std::size_t>(outcome)].fetch_add(1, std::memory_order_relaxed);
}

std::uint16_t LoadClient::Worker::Name(std::string_view name) {
  constexpr std::size_t kKnown = 32;
  for (const auto& [known, index] : known_names_) {
    if (known == name) return index;
  }
  const std::uint16_t index = shared_.names.Intern(name);
  if (known_names_.size() < kKnown) known_names_.emplace_back(name, index);
  return index;
}

LoadClient::LoadClient(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}

Result<std::unique_ptr<LoadClient>> LoadClient::Start(const Options& options,
                                                      std::span<const LoadTarget> targets,
                                                      std::span<const Arrival> schedule) {
  DULY_CHECK(options.threads > 0 && schedule.size() < kNone);
  auto shared = std::make_unique<Shared>();
  shared->options = options;
  shared->targets = targets;
  shared->schedule = schedule;
  shared->records.resize(schedule.size());
  shared->ended = UniqueFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  shared->last_arrival = options.end.count();
  shared->last_answer = (options.end + options.grace).count();
  shared->running = options.threads;
  std::unique_ptr<LoadClient> client(new LoadClient(std::move(shared)));
  for (std::uint32_t i = 0; i < options.threads; ++i) {
    client->workers_.push_back(std::make_unique<Worker>(*client->shared_, i));
    if (!client->workers_.back()->valid() || !client->shared_->ended.valid()) {
      return Error(StatusCode::kInternal, "no descriptors left");
    }
  }
  // The threads are there before the first arrival.
  client->shared_->start = SteadyClock::now() + std::chrono::milliseconds(10);
  try {
    for (const std::unique_ptr<Worker>& worker : client->workers_) worker->Begin();
  } catch (const std::system_error& error) {
    return Error(StatusCode::kInternal, "cannot start a thread: {}", error.what());
  }
  return client;
}

LoadClient::~LoadClient() {
  Stop();
  Stop();
}

int LoadClient::ended_fd() const { return shared_->ended.get(); }

LoadProgress LoadClient::progress() const {
  LoadProgress progress;
  progress.elapsed = std::max(shared_->Now(), Duration(0));
  for (const std::unique_ptr<Worker>& worker : workers_) {
    progress.sent += worker->sent();
    for (const Outcome outcome : kAllOutcomes) {
      progress.outcomes[static_cast<std::size_t>(outcome)] += worker->ended(outcome);
    }
  }
  return progress;
}

void LoadClient::Stop() {
  const std::int64_t now = shared_->Now().count();
  const bool again = shared_->stopped.exchange(true);
  const std::int64_t last_answer = again ? now : now + shared_->options.grace.count();
  shared_->last_arrival = std::min(shared_->last_arrival.load(), now);
  shared_->last_answer = std::min(shared_->last_answer.load(), last_answer);
  for (const std::unique_ptr<Worker>& worker : workers_) worker->Wake();
}

LoadRun LoadClient::Finish() {
  LoadRun run;
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->Join();
    run.connections += worker->connections_opened();
    run.cpu_s += worker->cpu_s();
  }
  run.records = std::move(shared_->records);
  run.length = Duration(shared_->last_arrival.load());
  run.interrupted = run.length < shared_->options.end;
  const auto end =
      std::upper_bound(shared_->schedule.begin(), shared_->schedule.end(), run.length,
                       [](Duration at, const Arrival& arrival) { return at < arrival.at; });
  run.arrivals = static_cast<std::size_t>(end - shared_->schedule.begin());
  run.names = shared_->names.names();
  return run;
}

}  // namespace duly
