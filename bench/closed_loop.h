// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/status.h"
#include "base/time.h"

namespace duly {

// What the closed-loop clients share: so many requests in flight, each followed by the next when
// its answer has come, in several runs.
struct ClosedLoop {
  using Clock = std::chrono::steady_clock;
  // Sends until the deadline, then waits for the answers on their way. Latencies of answers that
  // came before the deadline are added.
  using Drive = std::function<Status(Clock::time_point deadline, std::vector<Duration>& latencies)>;

  std::size_t concurrency = 1;
  bool shared_memory = false;  // tensors in system shared memory, both ways
  int runs = 5;
  std::optional<Duration> duration;
  std::optional<Duration> warmup;
};

void AddClosedLoop(CLI::App& app, ClosedLoop& loop);

// So many random numbers, the same in every run.
std::vector<float> RandomInput(std::size_t elements);

// Drives the runs and prints `about` with rate and latency percentiles of the run with the median
// rate, and the rates of all, as JSON. Returns the exit status.
int RunClosedLoop(const ClosedLoop& loop, nlohmann::ordered_json about,
                  const ClosedLoop::Drive& drive);

}  // namespace duly
