// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"

namespace duly {

// What of the log can be changed while the program runs.
struct LogSettings {
  bool error = true;
  bool warning = true;
  bool info = true;
  std::uint32_t verbose = 0;  // 0: neither, 1: debug, more: debug and trace
  bool full_time = false;     // ISO 8601 with date and zone, instead of the time of day

  bool operator==(const LogSettings&) const = default;
};

// Both kFailedPrecondition before SetUpLog (base/log.h). Threading: from any thread.
Result<LogSettings> CurrentLogSettings();
// Holds for every message from its return on. kInvalidArgument: a JSON log has full times always.
Status ChangeLogSettings(const LogSettings& settings);

}  // namespace duly
