// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "cli/load_answer.h"
#include "cli/load_server.h"
#include "cli/load_target.h"
#include "model/outcome.h"
#include "workload/schedule.h"

namespace duly {

// What became of one request, as the client saw it.
struct LoadRecord {
  std::optional<Outcome> outcome;  // nothing: unanswered
  int status = 0;                  // of HTTP, or what Duly says there for gRPC's; 0: no answer
  Duration latency{0};        // from the scheduled arrival to the end of the answer; 0: no answer
  Duration send_lateness{0};  // from the scheduled arrival to taking up the request
  AnswerNumbers numbers;
  std::uint16_t variant = 0;  // index into LoadRun::names; 0 is ""
  std::uint16_t device = 0;
  std::uint16_t detail = 0;  // why it was rejected or failed
};

struct LoadRun {
  std::vector<LoadRecord> records;  // of the arrivals with the same index
  std::size_t arrivals = 0;  // how many of the schedule took place before the run was stopped
  Duration length{0};        // of the schedule, or until it was stopped
  bool interrupted = false;
  std::vector<std::string> names;  // of variants, devices and details
  std::size_t connections = 0;     // opened
  double cpu_s = 0;                // of the client's threads
};

struct LoadProgress {
  Duration elapsed{0};
  std::uint64_t sent = 0;
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
};

// How an answered request ended: judged by the client, from the scheduled arrival on. The server's
// own opinion does not count, because it cannot see the way there and back.
Outcome ClassifyAnswer(int http_status, Duration latency, std::optional<Duration> slo);

// An open-loop client: sends every request of a schedule at its time, however the server does.
// Threading: its own threads send; every method may be called from any thread.
class LoadClient {
 public:
  struct Options {
    const LoadServer* server = nullptr;  // must outlive the client
    std::uint32_t threads = 1;
    // Of HTTP: with all busy, requests wait for one. gRPC has one for each thread.
    std::uint32_t max_connections = 1024;
    Duration end{0};    // of the schedule
    Duration grace{0};  // after the end, for answers on their way
  };
  // Targets stand at the index of their application. Starts at once; targets and schedule must
  // outlive the client. kInternal: no threads or descriptors.
  static Result<std::unique_ptr<LoadClient>> Start(const Options& options,
                                                   std::span<const LoadTarget> targets,
                                                   std::span<const workload::Arrival> schedule);
  // Ends the run at once.
  ~LoadClient();
  LoadClient(const LoadClient&) = delete;
  LoadClient& operator=(const LoadClient&) = delete;

  // Readable once the run has ended, for poll().
  int ended_fd() const;
  LoadProgress progress() const;
  // First call: sends nothing more, and waits for answers during the grace period. Second: ends.
  void Stop();
  // Waits for the end and hands over what was recorded. Once.
  LoadRun Finish();

 private:
  explicit LoadClient(std::unique_ptr<LoadShared> shared);

  std::unique_ptr<LoadShared> shared_;
  std::vector<std::unique_ptr<LoadWorker>> workers_;
};

}  // namespace duly
