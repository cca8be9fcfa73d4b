// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "telemetry/log_summary.h"

namespace duly {

std::uint64_t CountOf(const ApplicationSummary& application, Outcome outcome);

// With the keys of `duly load`'s applications (docs/load.md). `duration`: of the whole log.
nlohmann::ordered_json ToJson(const ApplicationSummary& application, Duration duration);

}  // namespace duly
