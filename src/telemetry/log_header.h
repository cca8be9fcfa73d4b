// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "engine/engine.h"

namespace duly {

// What an event log says before its first record: all that the engine was built from, so that
// replay can build it again, and where and when.
struct EventLogHeader {
  EngineConfig config;
  std::string policy;
  std::map<std::string, std::string> policy_options;
  std::string started;  // wall clock when the engine's time was `start`: "2026-11-21T12:00:00.000Z"
  TimePoint start{};
  std::string host;
  std::uint64_t seed = 0;
  std::string build;  // that recorded it (base/build.h)
};

// The header as JSON. Numbers round-trip exactly (doubles as the shortest text that does). The
// state of placements and applications is not written: a configuration describes an engine before
// its first event.
std::string ToJson(const EventLogHeader& header);

// A load as it stands in the log.
std::string ToJson(const GenerationLoad& load);
// The inverse; whether the load makes sense is for Apply() to say (engine/load.h).
Result<GenerationLoad> ParseGenerationLoad(std::string_view json);

// The inverse of the header's. What it accepts is safe to build an engine from and to index by: the
// error says which field is missing, of the wrong type or out of range.
Result<EventLogHeader> ParseEventLogHeader(std::string_view json);

}  // namespace duly
