// SPDX-License-Identifier: Apache-2.0
#include "cli/load_client.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "cli/load_worker.h"

namespace duly {

Outcome ClassifyAnswer(int http_status, Duration latency, std::optional<Duration> slo) {
  if (http_status >= 200 && http_status < 300) {
    return slo && latency > *slo ? Outcome::kLate : Outcome::kOnTime;
  }
  if (http_status == 503 || http_status == 429) return Outcome::kRejected;
  if (http_status == 504) return Outcome::kExpired;
  return Outcome::kFailed;
}

LoadClient::LoadClient(std::unique_ptr<LoadShared> shared) : shared_(std::move(shared)) {}

Result<std::unique_ptr<LoadClient>> LoadClient::Start(const Options& options,
                                                      std::span<const LoadTarget> targets,
                                                      std::span<const workload::Arrival> schedule) {
  DULY_CHECK(options.server != nullptr && options.threads > 0 &&
             schedule.size() < std::numeric_limits<std::uint32_t>::max());
  auto shared = std::make_unique<LoadShared>();
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
    client->workers_.push_back(options.server->MakeWorker(*client->shared_, i));
    if (!client->workers_.back()->valid() || !client->shared_->ended.valid()) {
      return Error(StatusCode::kInternal, "no descriptors left");
    }
  }
  // The threads are there before the first arrival.
  client->shared_->start = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
  try {
    for (const std::unique_ptr<LoadWorker>& worker : client->workers_) worker->Begin();
  } catch (const std::system_error& error) {
    return Error(StatusCode::kInternal, "cannot start a thread: {}", error.what());
  }
  return client;
}

LoadClient::~LoadClient() {
  Stop();
  Stop();
  for (const std::unique_ptr<LoadWorker>& worker : workers_) worker->Join();
}

int LoadClient::ended_fd() const { return shared_->ended.get(); }

LoadProgress LoadClient::progress() const {
  LoadProgress progress;
  progress.elapsed = std::max(shared_->Now(), Duration(0));
  for (const std::unique_ptr<LoadWorker>& worker : workers_) {
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
  for (const std::unique_ptr<LoadWorker>& worker : workers_) worker->Wake();
}

LoadRun LoadClient::Finish() {
  LoadRun run;
  for (const std::unique_ptr<LoadWorker>& worker : workers_) {
    worker->Join();
    run.connections += worker->connections_opened();
    run.cpu_s += worker->cpu_s();
  }
  run.records = std::move(shared_->records);
  run.length = Duration(shared_->last_arrival.load());
  run.interrupted = run.length < shared_->options.end;
  const auto end = std::upper_bound(
      shared_->schedule.begin(), shared_->schedule.end(), run.length,
      [](Duration at, const workload::Arrival& arrival) { return at < arrival.at; });
  run.arrivals = static_cast<std::size_t>(end - shared_->schedule.begin());
  run.names = shared_->names.names();
  return run;
}

}  // namespace duly
