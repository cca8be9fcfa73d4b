// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/event_observer.h"
#include "telemetry/log_reader.h"
#include "telemetry/replay.h"

namespace duly {

// Three models with one to three variants on two devices, four applications; every optional field
// is set somewhere and left out elsewhere.
EventLogHeader TestHeader();

struct ScriptOptions {
  std::uint64_t seed = 1;
  std::uint32_t requests = 1000;
  double load = 1.5;  // of what the devices can serve, roughly
};

// Drives an engine made from the header through a random run in virtual time, with requests of all
// kinds, noisy and failing batches, late timers, cancellations and at last a drain.
void RunScript(const EventLogHeader& header, const ScriptOptions& options, EventObserver& observer);

// Keeps what it observes.
class Collector final : public EventObserver {
 public:
  void OnEvent(TimePoint now, const Event& event, const Effects& effects) override;
  std::vector<LogRecord> records;  // numbered from 1
};

std::vector<LogRecord> ScriptedRecords(const ScriptOptions& options);

// A log file with these events and gaps, and an end record.
std::string EncodeLog(const EventLogHeader& header, const std::vector<LogRecord>& records,
                      std::size_t block_bytes = 64 * 1024);

Result<EventLogReader> ReadLog(std::string bytes);

struct ReadResult {
  std::vector<LogRecord> records;
  Status status;  // why reading ended, if not at the end
  std::optional<LogCut> cut;
};
ReadResult ReadAll(std::string bytes);

bool SameRecord(const LogRecord& a, const LogRecord& b);

// The registry of policies, as replay takes it.
PolicyFactory RegistryFactory();

}  // namespace duly
