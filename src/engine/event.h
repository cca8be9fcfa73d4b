// SPDX-License-Identifier: Apache-2.0
//
// Inputs and outputs of the engine as plain data, so that they can be logged and fed again.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/time.h"
#include "model/outcome.h"
#include "policy/interface/view.h"

namespace duly {

// Names a request while it lives. The sequence guards against a reused index.
struct RequestId {
  std::uint32_t index = kNoIndex;
  std::uint64_t sequence = 0;
  friend bool operator==(const RequestId&, const RequestId&) = default;
};

struct Arrival {
  GenerationIndex generation = 0;
  ApplicationIndex application = kNoIndex;  // kNoIndex: the generation's default application
  std::uint64_t shape = 0;                  // signature of all dimensions but rows
  std::uint32_t rows = 1;
  VariantMask variants = 0;   // the client's own choice; 0: what the application allows
  Duration slo{-1};           // promise; < 0: the application's, else the model's default
  Duration timeout{-1};       // patience; < 0: the same
  Duration call_timeout{-1};  // the call's own end bounds patience, whatever states it; < 0: none
  double min_accuracy_pct = -1;  // floor; < 0: the application's
  std::uint32_t priority = 0;    // level, 1 first; 0: the generation's default one
  friend bool operator==(const Arrival&, const Arrival&) = default;
};

struct BatchDone {
  std::uint32_t batch = kNoIndex;  // index from StartBatch
  bool failed = false;
  Duration input{0};  // as the executor measured
  Duration infer{0};
  Duration output{0};
  friend bool operator==(const BatchDone&, const BatchDone&) = default;
};

// A generation that is ready to run.
struct GenerationLoad {
  // The next one, or that of one that was unloaded.
  GenerationIndex index = 0;
  Generation generation;
  std::vector<Application> applications;  // new ones, behind those that there are
};

struct Event {
  enum class Kind : std::uint8_t {
    kArrival,
    kBatchDone,
    kTimer,   // the time that Engine::NextTimer() gave has come
    kCancel,  // the client of `request` went away
    kDrain,   // no more arrivals are accepted
    kLoad,
    kUnload,  // nothing of `generation` waits or runs, and nothing will arrive for it
  };
  Kind kind = Kind::kTimer;
  Arrival arrival;                        // kArrival
  BatchDone done;                         // kBatchDone
  RequestId request;                      // kCancel
  const GenerationLoad* load = nullptr;   // kLoad; the caller's
  GenerationIndex generation = kNoIndex;  // kUnload
  friend bool operator==(const Event&, const Event&) = default;
};

// "Run these": to be carried out after the lock is released.
struct StartBatch {
  std::uint32_t batch = 0;
  DeviceIndex device = 0;
  std::uint32_t slot = 0;
  GenerationIndex generation = 0;
  std::uint32_t variant = 0;
  std::uint32_t rows = 0;
  Duration predicted{0};           // mean service time
  std::uint32_t first_member = 0;  // into Effects::members
  std::uint32_t member_count = 0;
  friend bool operator==(const StartBatch&, const StartBatch&) = default;
};

// "This request has ended": exactly one per arrival.
struct Finish {
  RequestId request;
  Outcome outcome = Outcome::kFailed;
  RejectReason reason = RejectReason::kNone;
  ApplicationIndex application = 0;
  // Where it ran; kNoIndex when it never started.
  DeviceIndex device = kNoIndex;
  std::uint32_t batch = kNoIndex;    // the StartBatch that ran it
  std::uint32_t batch_position = 0;  // among that batch's members
  std::uint32_t variant = 0;
  std::uint32_t batch_rows = 0;
  Duration waiting{0};      // arrival to start (or to the end, when it never started)
  Duration service{0};      // start to end
  Duration predicted{0};    // response time predicted at admission; 0: none was made
  Duration retry_after{0};  // kRejected: when another try may succeed
  friend bool operator==(const Finish&, const Finish&) = default;
};

// What one event led to, in the order of the decisions. Reused by the caller, so that nothing is
// allocated once its vectors have grown.
struct Effects {
  std::vector<Finish> finishes;
  std::vector<StartBatch> starts;
  std::vector<RequestId> members;
  RequestId arrived;  // the request that a kArrival event made

  void Clear() {
    finishes.clear();
    starts.clear();
    members.clear();
    arrived = RequestId();
  }
  std::span<const RequestId> MembersOf(const StartBatch& start) const {
    return std::span(members).subspan(start.first_member, start.member_count);
  }
};

}  // namespace duly
