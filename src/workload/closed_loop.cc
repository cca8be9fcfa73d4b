// SPDX-License-Identifier: Apache-2.0
#include "workload/closed_loop.h"

#include <fmt/format.h>

#include "base/check.h"

namespace duly::workload {

ClosedLoop::ClosedLoop(std::uint32_t clients, Duration mean_think, std::uint64_t seed,
                       std::string_view application)
    : mean_think_s_(ToSeconds(mean_think)) {
  DULY_CHECK(clients > 0 && mean_think > Duration(0));
  for (std::uint32_t client = 0; client < clients; ++client) {
    streams_.emplace_back(seed, fmt::format("think/{}/{}", application, client));
    Answered(client, Duration(0));
  }
}

std::optional<Duration> ClosedLoop::NextTime() const {
  if (thinking_.empty()) return std::nullopt;
  return thinking_.top().first;
}

std::uint32_t ClosedLoop::Take() {
  DULY_CHECK(!thinking_.empty());
  const std::uint32_t client = thinking_.top().second;
  thinking_.pop();
  return client;
}

void ClosedLoop::Answered(std::uint32_t client, Duration at) {
  thinking_.emplace(at + FromSeconds(streams_[client].Exponential(mean_think_s_)), client);
}

}  // namespace duly::workload
