// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/time.h"
#include "model/outcome.h"
#include "policy/interface/view.h"

namespace duly {

// What a policy orders its queues by. The engine keeps them so.
enum class QueueOrdering : std::uint8_t { kArrival, kDue };

// Waiting requests that are rejected with a decision, written by the policy into the engine's
// scratch.
class Victims {
 public:
  static constexpr std::size_t kCapacity = 64;
  void Clear() { count_ = 0; }
  bool Add(const Request& request) {
    if (count_ == kCapacity) return false;
    requests_.at(count_++) = request.index;
    return true;
  }
  std::span<const std::uint32_t> indices() const { return {requests_.data(), count_}; }

 private:
  std::array<std::uint32_t, kCapacity> requests_{};
  std::size_t count_ = 0;
};

// Answer to "shall this request be accepted?"
struct Admission {
  bool accept = true;
  RejectReason reason = RejectReason::kNone;  // when refused
  bool demoted = false;                       // accepted, but to be served late
  VariantMask variants = 0;                   // accepted for these
  std::uint32_t variant = 0;                  // the most accurate of them
  Duration work{0};                           // device time that it is expected to take
  Duration predicted{0};                      // response time; 0 when nothing was predicted
  TimePoint drop_at = kNever;                 // reject it then, if it still waits
  // For a request without promise: stand there in the order instead.
  std::optional<TimePoint> due;
};

// Answer to "what shall this device do now?"
struct Dispatch {
  enum class Kind : std::uint8_t {
    kIdle,    // nothing; ask again at `ask_again`, or after the next event
    kRun,     // the first `count` requests of `queue` as one batch with `variant`
    kReject,  // the first request of `queue`, because its promise became impossible
    kDemote,  // the same, and it goes behind all that can still be on time
  };
  Kind kind = Kind::kIdle;
  QueueIndex queue = kNoIndex;
  std::uint32_t count = 0;
  std::uint32_t variant = 0;
  TimePoint ask_again = kNever;
};

// The dispatch time scale: per arrival and per free device, about a microsecond.
//
// The same calls in the same order give the same answers; a policy may keep private state. It is
// called under the engine's lock: no allocation, no call out, no clock. The view is valid only
// during the call.
class DispatchPolicy {
 public:
  virtual ~DispatchPolicy() = default;

  virtual QueueOrdering ordering() const = 0;
  // The response time that orders requests without promise and patience among the others.
  virtual Duration best_effort_target() const = 0;

  // `candidate` is not queued yet; `allowed` are the variants that its floor permits (never empty),
  // candidate.variant the preferred one. Whom the policy wants to give way for it, it adds to
  // `victims` (waiting requests only).
  virtual Admission Admit(const View& view, const Request& candidate, GenerationIndex generation,
                          VariantMask allowed, Victims& victims) = 0;

  // Called for a device with a free slot while requests wait, again and again until it says kIdle.
  virtual Dispatch Next(const View& view, DeviceIndex device) = 0;
};

}  // namespace duly
