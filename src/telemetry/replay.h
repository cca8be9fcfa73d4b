// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/interface/policy_factory.h"
#include "telemetry/log_reader.h"

namespace duly {

// The first decision that did not come out as it was recorded.
struct ReplayDifference {
  std::uint64_t number = 0;  // of the event
  Duration since_start{0};
  std::string place;     // in the file
  std::string event;     // in words
  std::string recorded;  // what the log says came out
  std::string replayed;  // what came out now
};

struct ReplayReport {
  std::uint64_t events = 0;     // fed; all but one that made a difference came out the same
  std::uint64_t decisions = 0;  // batches started and requests ended, compared one by one
  std::optional<ReplayDifference> difference;
  std::optional<LogRecord> gap;  // replay ended at this gap: what came after it is not known
  std::optional<LogCut> cut;     // the log has no end record; all before its cut was replayed

  // Timer events against the time that the engine had asked for: what the live timer was worth. In
  // the order of the log; negative: it came early, and the engine did nothing.
  std::vector<Duration> timer_lateness;

  // Every decision of the whole run came out again.
  bool exact() const { return !difference && !gap && !cut; }
};

// Why no driver brings this event, which the engine relies on, or its sums of times do; empty: one
// may. `config` is that of the time before it.
std::string Impossible(const Event& event, TimePoint time, TimePoint start,
                       const EngineConfig& config);

// Feeds the events of a log, at its beginning, to a new engine with the policy that its header
// names and compares everything that comes out. An error: the log cannot be read on, or the policy
// not made.
//
// A damaged or foreign log never reaches what the engine demands of its driver: an event that no
// driver of this engine could have brought (the end of a batch that does not run) is a difference.
Result<ReplayReport> Replay(EventLogReader& reader, const PolicyFactory& make_policy);

}  // namespace duly
