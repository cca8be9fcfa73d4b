// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/event_observer.h"
#include "sim/simulator.h"
#include "telemetry/log_reader.h"

namespace duly::sim {

// What an event log says of the world around the engine: what was sent and when, and what batches
// took. Memory grows with the log.
struct RecordedRun {
  struct Batch {
    DeviceIndex device = 0;
    GenerationIndex generation = 0;
    std::uint32_t variant = 0;
    std::uint32_t rows = 1;
    Duration service{0};  // from its start to its end, as the engine saw them
    bool failed = false;
  };
  // Every generation that was ever loaded, each by an index of its own, from the start to the end.
  EngineConfig config;
  std::vector<SentRequest> requests;  // in their order
  std::vector<Batch> batches;         // those that ended, in the order of their ends
};

// Reads the log, at its beginning, to its end; one that was cut off, as far as it goes. What came
// after the server was told to stop is left out: no policy had served it. Errors: the
// log is damaged, or it has a gap (what arrived then is not known).
Result<RecordedRun> ReadRecordedRun(EventLogReader& reader);

// What the policy would have done with these requests. A batch of a variant on a device takes the
// mean of the recorded ones of its size (between sizes, what lies between), times the deviation of
// the next recorded batch of that variant there, and fails as that did; where none was recorded,
// what the profile says times what the device's batches took beyond theirs. Clients go away as long
// after their arrival as they did.
void Simulate(const RecordedRun& run, std::unique_ptr<DispatchPolicy> policy,
              EventObserver& observer);

}  // namespace duly::sim
