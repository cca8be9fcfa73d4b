// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"
#include "telemetry/log_reader.h"

namespace duly {

// Stable over machines, compilers and versions that write the same records. Two runs with the same
// hashes had the same inputs at the same times and took the same decisions.
struct LogHash {
  std::uint64_t config = 0;     // of the header, less host, version and wall clock
  std::uint64_t inputs = 0;     // events with their times, and gaps
  std::uint64_t decisions = 0;  // everything that came out
  std::uint64_t all = 0;
};

// Reads the log, at its beginning, to its end. A log without end record is hashed as far as it
// goes; reader.cut() says so.
Result<LogHash> HashLog(EventLogReader& reader);

}  // namespace duly
