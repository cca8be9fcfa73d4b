// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/time.h"
#include "engine/event.h"

namespace duly {

// Observes what enters and leaves the engine, in the order of the events, from the first one on.
// `effects` are those of this event alone. Called under the node's lock: it must only copy into
// memory that it has (telemetry/recorder.h).
class EventObserver {
 public:
  virtual ~EventObserver() = default;
  virtual void OnEvent(TimePoint now, const Event& event, const Effects& effects) = 0;
};

}  // namespace duly
