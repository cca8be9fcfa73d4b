// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cli/load_client.h"
#include "workload/schedule.h"

namespace duly {

// Arrivals of application 0 from time 0 on.
inline std::vector<workload::Arrival> Every(Duration gap, std::uint32_t count,
                                            bool cancel = false) {
  std::vector<workload::Arrival> schedule;
  for (std::uint32_t i = 0; i < count; ++i) schedule.push_back({gap * i, 0, i, cancel});
  return schedule;
}

inline std::vector<std::optional<Outcome>> Outcomes(const LoadRun& run) {
  std::vector<std::optional<Outcome>> outcomes;
  for (const LoadRecord& record : run.records) outcomes.push_back(record.outcome);
  return outcomes;
}

}  // namespace duly
