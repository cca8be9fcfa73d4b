// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "policy/interface/view.h"

namespace duly {

// What the dispatch rule keeps free for what it does not know.
struct EdfMargins {
  // At the end of each promise, for the way of the answer; at most a tenth of the promise.
  Duration reserve{0};
  // By device: how long a request that arrives there behind the start of a batch can wait for the
  // end of it. No batch grows beyond. Empty: no bound.
  std::span<const Duration> longest_waits;
};

// What a slot of a device does next.
struct EdfStep {
  enum class Kind : std::uint8_t {
    kNothing,
    kRun,   // `head` and the next count - 1 requests of its queue as one batch
    kMiss,  // `head` cannot keep its promise any more
  };
  Kind kind = Kind::kNothing;
  const Request* head = nullptr;
  std::uint32_t count = 0;
  std::uint32_t rows = 0;
  std::uint32_t variant = 0;
  const ServicePrediction* service = nullptr;  // of the variant on the device
  Duration mean{0};                            // of the batch; of `head` alone for kMiss
  TimePoint tightest = kNever;                 // promise in the batch
  bool has_room = false;                       // for more than wait
};

// The node as it is and, run forward by the dispatch rule, as it will be if nothing more arrives
// and every batch takes its mean service time. One rule for both, so that admission foresees what
// dispatch does. README.md states the rule.
//
// Valid while the view of the last Reset is. Allocates only while its vectors grow to the size of
// the node.
class Outlook {
 public:
  // Requests with indices below, and queues with indices up to these may occur.
  void Reserve(std::size_t requests, std::size_t queues);

  // The node as it is now.
  void Reset(const View& view, EdfMargins margins);
  // Before anything is asked: one more waits, for these variants. It is not part of the view's
  // order. `overtaking` is the part of the device's time, below 1, that requests yet to come will
  // take before it.
  void Add(const Request& candidate, VariantMask variants, double overtaking);
  // This one waits no longer.
  void Remove(std::uint32_t request) { gone_[request] = round_; }

  // The dispatch rule: what a free slot of the device does now.
  EdfStep Next(DeviceIndex device);
  // Asks again without the step's queue.
  EdfStep NextButNot(const EdfStep& step, DeviceIndex device);

  // How the one that was added will fare.
  struct Prediction {
    bool on_time = false;
    Duration late{0};               // by how much it misses its promise
    DeviceIndex device = kNoIndex;  // where it runs; kNoIndex: it never will
    Duration response{0};
    Duration service{0};  // of its batch
    Duration work{0};     // by how much its batch takes longer because of it
  };
  // Runs forward until nothing waits that has a promise, or until it is known that the one that was
  // added misses its own.
  Prediction RunForward();

  struct Miss {
    const Request* request = nullptr;
    Duration late{0};
  };
  // Who will miss a promise, in the order in which that is seen, after RunForward.
  std::span<const Miss> misses() const { return misses_; }
  bool Missed(std::uint32_t request) const { return missed_[request] == round_; }

  // The instant by which the engine must be done so that the promise is kept at the client.
  TimePoint PromiseOf(const Request& request) const {
    if (request.deadline == kNever || request.demoted) return kNever;
    const Duration promise = request.deadline - request.arrival;
    return request.deadline - std::min(margins_.reserve, promise / 10);
  }

 private:
  struct SlotState {
    DeviceIndex device = 0;
    // What it runs until `free_at`; kNoIndex: nothing, it waits until then.
    GenerationIndex generation = kNoIndex;
    std::uint32_t variant = 0;
    TimePoint free_at{};
    bool FreeAt(TimePoint t) const { return generation == kNoIndex || free_at <= t; }
  };
  // In order; what is gone may still be there.
  using Waiting = std::span<const Request* const>;
  struct QueueState {
    std::uint64_t round = 0;  // in which `waiting` was set
    Waiting waiting;
    std::uint64_t passed_over = 0;  // the last ask in which it was
  };

  void SkipGone(Waiting& waiting) const {
    while (!waiting.empty() && Gone(*waiting.front())) waiting = waiting.subspan(1);
  }
  bool Gone(const Request& request) const { return gone_[request.index] == round_; }
  bool IsAlone(const Request& request) const { return &request == candidate_ && candidate_alone_; }
  QueueState& StateOf(const Request& request) {
    QueueState& state = IsAlone(request) ? alone_ : queues_[request.queue];
    if (state.round != round_) StartRound(request, state);
    return state;
  }
  void StartRound(const Request& request, QueueState& state) const;
  VariantMask VariantsOf(const Request& request) const;

  EdfStep Decide(TimePoint t, DeviceIndex device);
  // Chooses the variant for the head; false when the device cannot run it now.
  bool Choose(const Request& head, TimePoint t, DeviceIndex device, EdfStep& step) const;
  // Whether so many runs of the variant may start at `t`, as far as its instances go.
  bool HasInstances(const Placement& placement, const Request& head, std::uint32_t variant,
                    TimePoint t, std::uint32_t runs) const;
  bool AnotherDeviceCan(const Request& head, TimePoint t, DeviceIndex device) const;
  bool IsDoubtful(const EdfStep& step, TimePoint t) const;
  // Adds to the batch of the head what may join it. `others`: what stands behind the head.
  void Grow(Waiting others, TimePoint t, DeviceIndex device, EdfStep& step);

  bool AnythingPromised();
  void PutOff(SlotState& slot) const;

  const View* view_ = nullptr;
  EdfMargins margins_;
  TimePoint now_{};
  Waiting order_;  // all
  const Request* candidate_ = nullptr;
  VariantMask candidate_variants_ = 0;
  bool candidate_alone_ = false;  // in a queue of its own, because of its variants
  double overtaking_ = 0;
  std::vector<const Request*> order_copy_;  // with the candidate
  std::vector<const Request*> queue_copy_;

  std::vector<SlotState> slots_;
  std::vector<const Request*> members_;  // of the last step that runs something
  std::vector<Miss> misses_;
  // By request index: the round in which it is gone, or misses its promise.
  std::vector<std::uint64_t> gone_;
  std::vector<std::uint64_t> missed_;
  std::vector<QueueState> queues_;  // by QueueIndex
  QueueState alone_;                // of the candidate's own queue
  std::uint64_t round_ = 0;         // of Reset
  std::uint64_t ask_ = 0;           // of Decide
};

}  // namespace duly
