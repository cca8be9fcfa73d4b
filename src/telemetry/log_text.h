// SPDX-License-Identifier: Apache-2.0
//
// Records of an event log in words.
#pragma once

#include <span>
#include <string>

#include "base/time.h"
#include "engine/engine.h"
#include "engine/event.h"

namespace duly {

// Exact, unlike FormatDuration(): two durations that differ never look the same. "12.345678ms".
std::string ExactMillis(Duration d);

// Indices within `config`, as EventLogReader sees to. `arrived` is the request that an arrival
// made.
std::string Describe(const Event& event, const RequestId& arrived, const EngineConfig& config);
std::string Describe(const Finish& finish, const EngineConfig& config);
std::string Describe(const StartBatch& start, std::span<const RequestId> members,
                     const EngineConfig& config);

}  // namespace duly
