// SPDX-License-Identifier: Apache-2.0
//
// The node as a dispatch policy sees it. The engine owns and changes all of it; a policy reads it
// during a call and keeps no reference to it. Everything is held in arrays, so that a decision
// allocates nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/time.h"
#include "model/model_spec.h"
#include "model/outcome.h"
#include "policy/interface/recent_sum.h"
#include "profile/service_prediction.h"

namespace duly {

using GenerationIndex = std::uint32_t;
using ApplicationIndex = std::uint32_t;
using DeviceIndex = std::uint32_t;
using QueueIndex = std::uint32_t;
inline constexpr std::uint32_t kNoIndex = 0xFFFFFFFF;

// A variant of a generation on a device.
struct Placement {
  DeviceIndex device = 0;
  std::uint32_t instances = 1;  // runs at once
  std::uint32_t running = 0;
  ServicePrediction service;
};

struct Variant {
  std::string name;
  double accuracy_pct = 0;            // 0 when unknown
  std::vector<Placement> placements;  // at most one per device

  const Placement* On(DeviceIndex device) const {
    for (const Placement& placement : placements) {
      if (placement.device == device) return &placement;
    }
    return nullptr;
  }
};

// One loaded version of a model. Without variants once it is unloaded.
struct Generation {
  std::string model;
  std::int64_t version = 1;
  std::uint32_t max_rows = 0;  // 0: does not batch, every request runs alone
  std::vector<Variant> variants;
  std::uint32_t default_variant = 0;
  std::optional<DynamicBatching> batching;
  ApplicationIndex default_application = 0;
  std::optional<Duration> slo;
  std::optional<Duration> timeout;
};

// Who sends.
struct Application {
  std::string name;
  double weight = 1;  // > 0
  std::optional<Duration> slo;
  std::optional<Duration> timeout;
  OnMiss on_miss = OnMiss::kRefuse;
  double min_accuracy_pct = 0;
  std::optional<AccuracyBudget> accuracy_budget;
  std::uint32_t waiting = 0;  // requests in all queues
  RecentSum on_time;          // device time of its on-time answers
};

enum class RequestState : std::uint8_t { kFree, kWaiting, kRunning };

// One request that waits or runs.
struct Request {
  // What orders and predictions read comes first, so that it lies together.
  // What it is ordered by: the deadline; for patience alone the expiry plus the predicted service;
  // without either the arrival plus the policy's best-effort target, or what admission said. Under
  // arrival order: the arrival.
  TimePoint due = kNever;
  std::uint64_t sequence = 0;  // number of its arrival event; breaks every tie
  // Under arrival order: its priority level less the default one of its model.
  std::int32_t rank = 0;
  std::uint32_t level = 0;  // its priority level, from 1 on; 0: its model has none
  TimePoint arrival{};
  TimePoint deadline = kNever;  // promise: the answer is on time until then
  TimePoint expiry = kNever;    // patience: it starts before then or not at all
  Duration work{0};             // device time that it is expected to take
  std::uint32_t index = 0;      // of this record in the engine's pool
  QueueIndex queue = kNoIndex;
  GenerationIndex generation = 0;
  std::uint32_t rows = 1;
  // While waiting the most accurate that it may still get, then the one that runs it.
  std::uint32_t variant = 0;
  ApplicationIndex application = 0;
  RequestState state = RequestState::kFree;
  OnMiss on_miss = OnMiss::kRefuse;
  bool demoted = false;  // cannot be on time any more and is served after those that can
  bool cancelled = false;

  Duration predicted{0};         // response time as predicted at admission; 0 when it was not
  TimePoint refuse_at = kNever;  // when its promise is given up
  TimePoint delay_at = kNever;   // when its patience ends, if it is to be served late then
  TimePoint drop_at = kNever;    // the first of expiry, refuse_at and delay_at
  TimePoint started{};
  std::uint32_t batch = kNoIndex;
  std::uint32_t preferred = 0;     // the variant that it would get without degrading
  std::uint32_t loss_charged = 0;  // to its application's accuracy budget (engine/loss_window.h)
};

// Order of waiting: by rank; then those that can still be on time first, then by due, then by
// arrival.
struct DueOrder {
  bool operator()(const Request& a, const Request& b) const {
    if (a.rank != b.rank) return a.rank < b.rank;
    if (a.demoted != b.demoted) return b.demoted;
    if (a.due != b.due) return a.due < b.due;
    return a.sequence < b.sequence;
  }
};
struct DropOrder {
  bool operator()(const Request& a, const Request& b) const {
    if (a.drop_at != b.drop_at) return a.drop_at < b.drop_at;
    return a.sequence < b.sequence;
  }
};

// Requests in order. Contiguous, because policies walk it again and again.
template <typename Order>
class RequestList {
 public:
  void Reserve(std::size_t count) { requests_.reserve(count); }
  // Most come last and leave first.
  void Insert(const Request& request) {
    if (requests_.empty() || Order()(*requests_.back(), request)) {
      requests_.push_back(&request);
    } else {
      requests_.insert(PlaceOf(request), &request);
    }
  }
  // What it is ordered by must not have changed since.
  void Erase(const Request& request) {
    const auto first = requests_.begin();
    const auto place = first != requests_.end() && *first == &request ? first : PlaceOf(request);
    DULY_CHECK(place != requests_.end() && *place == &request);
    requests_.erase(place);
  }

  bool empty() const { return requests_.empty(); }
  std::size_t size() const { return requests_.size(); }
  const Request& front() const { return *requests_.front(); }
  auto begin() const { return requests_.begin(); }
  auto end() const { return requests_.end(); }

 private:
  auto PlaceOf(const Request& request) {
    return std::lower_bound(requests_.begin(), requests_.end(), &request,
                            [](const Request* a, const Request* b) { return Order()(*a, *b); });
  }

  std::vector<const Request*> requests_;
};

// What stands in one queue may share a batch: same generation, same shape apart from rows, same
// allowed variants.
struct Queue {
  GenerationIndex generation = 0;
  std::uint64_t shape = 0;  // signature of all dimensions but rows
  VariantMask variants = 0;
  RequestList<DueOrder> waiting;
};

// The head of each queue, packed, so that a policy scans a thousand of them within a microsecond or
// two.
struct QueueHead {
  TimePoint due = kNever;      // of the first request; kNever and count 0 when the queue is empty
  std::uint64_t sequence = 0;  // of the first request
  std::int32_t rank = 0;
  bool demoted = false;
  std::uint32_t count = 0;
  GenerationIndex generation = 0;
  VariantMask variants = 0;
};

// Where one batch runs at a time.
struct Slot {
  bool busy = false;
  // Of the batch in execution.
  GenerationIndex generation = 0;
  std::uint32_t variant = 0;
  std::uint32_t rows = 0;
  TimePoint predicted_end{};
};

struct Device {
  std::string name;
  std::vector<Slot> slots;
  std::uint32_t free_slots = 0;
};

struct View {
  TimePoint now;
  std::span<const Device> devices;
  std::span<const Generation> generations;
  std::span<const Application> applications;
  std::span<const QueueHead> heads;       // by QueueIndex
  std::span<const Queue> queues;          // by QueueIndex
  std::span<const Request* const> order;  // all waiting requests, by DueOrder
  std::uint32_t max_waiting = 0;          // bound of requests in all queues
};

}  // namespace duly
