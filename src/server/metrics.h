// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/stats.h"
#include "runtime/infer.h"
#include "server/access.h"

namespace duly {

inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// What limits per client have refused.
struct LimitCounts {
  std::vector<TokenCounts> tokens;
  std::optional<std::uint64_t> connections;  // nothing: there is no limit
};

// An application that is watched for its SLO (server/application_service.h).
struct ApplicationHeat {
  std::string name;
  bool is_hot = false;
  std::uint64_t times_hot = 0;
};

// What is counted beside the engine.
struct ServerCounts {
  LimitCounts limits;
  std::vector<ApplicationHeat> heats;
  std::optional<std::uint64_t> dropped_traces;  // nothing: requests cannot be traced
};

// The Prometheus text exposition of what the engine counted: Triton's nv_* names where the meaning
// is the same, duly_* for the rest. Made when it is asked for; requests pay nothing for it.
std::string MetricsText(std::span<const std::shared_ptr<const ServedModel>> models,
                        const EngineStats& stats, const ServerCounts& counts = {});

}  // namespace duly
