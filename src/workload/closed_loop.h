// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/time.h"

namespace duly::workload {

// Clients each of which has one request at a time: it thinks for an exponential time, sends, and
// thinks again when its request has ended. The n-th thought of a client is the same whatever it
// meets: it comes from the client's own stream "think/APPLICATION/CLIENT".
class ClosedLoop {
 public:
  // clients > 0; mean_think > 0.
  ClosedLoop(std::uint32_t clients, Duration mean_think, std::uint64_t seed,
             std::string_view application);

  // When the next one sends; nothing: all wait for their answers.
  std::optional<Duration> NextTime() const;
  // It has sent: its number, from 0. NextTime() is not nothing.
  std::uint32_t Take();
  // What it sent has ended.
  void Answered(std::uint32_t client, Duration at);

 private:
  using Next = std::pair<Duration, std::uint32_t>;  // when, client

  const double mean_think_s_;
  std::vector<RandomStream> streams_;
  std::priority_queue<Next, std::vector<Next>, std::greater<>> thinking_;
};

}  // namespace duly::workload
