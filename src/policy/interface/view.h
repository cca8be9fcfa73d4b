// SPDX-License-Identifier: Apache-2.0
//
// The node as a dispatch policy sees it. The engine owns and changes all of it; a policy reads it
// during a call and keeps no reference to it. Everything is held in arrays and intrusive
// containers, so that a decision allocates nothing.
#pragma once

#include <boost/intrusive/set.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/model_spec.h"
#include "model/outcome.h"
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

// One loaded version of a model.
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
  bool accepting = true;  // false once it drains
};

// A sum over the last one to two seconds: the running second, and the one before it as far as it
// still lies within the last second. Two numbers, no list.
class RecentSum {
 public:
  static constexpr Duration kWindow = std::chrono::seconds(1);

  void Add(TimePoint now, Duration amount) {
    const std::int64_t window = now.time_since_epoch() / kWindow;
    if (window != window_) {
      previous_ = window == window_ + 1 ? current_ : Duration(0);
      current_ = Duration(0);
      window_ = window;
    }
    current_ += amount;
  }
  // Scaled to one window.
  Duration Value(TimePoint now) const {
    const std::int64_t window = now.time_since_epoch() / kWindow;
    const Duration into = now.time_since_epoch() - window * kWindow;
    const Duration current = window == window_ ? current_ : Duration(0);
    const Duration previous = window == window_       ? previous_
                              : window == window_ + 1 ? current_
                                                      : Duration(0);
    // In microseconds, so that the product stays within 64 bits.
    const std::int64_t left_us = (kWindow - into).count() / 1000;
    return current + Duration(previous.count() / 1000 * left_us / (kWindow.count() / 1000) * 1000);
  }

 private:
  std::int64_t window_ = 0;
  Duration current_{0};
  Duration previous_{0};
};

// Who sends, with what it got lately.
struct Application {
  std::string name;
  double weight = 1;
  std::optional<Duration> slo;
  std::optional<Duration> timeout;
  OnMiss on_miss = OnMiss::kRefuse;
  double min_accuracy_pct = 0;
  // What it got lately: device time of its on-time answers.
  RecentSum on_time;
  TimePoint last_arrival = TimePoint::min();
};

enum class RequestState : std::uint8_t { kFree, kWaiting, kRunning };

// One request that waits or runs.
struct Request {
  using Hook =
      boost::intrusive::set_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

  std::uint64_t sequence = 0;  // number of its arrival event; breaks every tie
  std::uint32_t index = 0;     // of this record in the engine's pool
  RequestState state = RequestState::kFree;
  TimePoint arrival{};
  TimePoint deadline = kNever;  // promise: the answer is on time until then
  TimePoint expiry = kNever;    // patience: it starts before then or not at all
  // What the queue is ordered by: the deadline; for patience alone the expiry plus the predicted
  // service; without either the arrival plus the policy's best-effort target. Under arrival order:
  // the arrival.
  TimePoint due = kNever;
  bool demoted = false;  // cannot be on time any more and is served after those that can
  bool cancelled = false;
  std::uint32_t rows = 1;
  OnMiss on_miss = OnMiss::kRefuse;
  ApplicationIndex application = 0;
  QueueIndex queue = kNoIndex;
  std::uint32_t variant = 0;  // preferred while waiting, chosen once running

  // The device where its completion was predicted, and the device time that it is expected to take
  // there: what admission counts as work ahead of others.
  DeviceIndex booked_device = kNoIndex;
  Duration booked_work{0};
  Duration predicted{0};  // response time as predicted at admission; 0 when it was not

  TimePoint drop_at = kNever;  // when a timer ends its wait: expiry, or the deadline of the refused
  TimePoint started{};
  std::uint32_t batch = kNoIndex;

  Hook queue_hook;
  Hook booked_hook;
  Hook drop_hook;
};

// Order in a queue: those that can still be on time first, then by due, then by arrival.
struct DueOrder {
  bool operator()(const Request& a, const Request& b) const {
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

template <Request::Hook Request::*hook, typename Order>
using RequestSet =
    boost::intrusive::set<Request, boost::intrusive::member_hook<Request, Request::Hook, hook>,
                          boost::intrusive::compare<Order>,
                          boost::intrusive::constant_time_size<true>>;
using QueueOrder = RequestSet<&Request::queue_hook, DueOrder>;
using BookedOrder = RequestSet<&Request::booked_hook, DueOrder>;
using DropQueue = RequestSet<&Request::drop_hook, DropOrder>;

// What stands in one queue may share a batch: same generation, same shape apart from rows, same
// allowed variants.
struct Queue {
  GenerationIndex generation = 0;
  std::uint64_t shape = 0;  // signature of all dimensions but rows
  VariantMask variants = 0;
  std::uint64_t rows = 0;  // waiting
  QueueOrder waiting;
};

// The head of each queue, packed, so that a policy scans a thousand of them within a microsecond or
// two.
struct QueueHead {
  TimePoint due = kNever;      // of the first request; kNever and count 0 when the queue is empty
  std::uint64_t sequence = 0;  // of the first request
  bool demoted = false;
  std::uint32_t count = 0;
  GenerationIndex generation = 0;
  VariantMask variants = 0;
};

// A batch in execution, as far as the device is concerned.
struct Slot {
  bool busy = false;
  TimePoint predicted_end{};
};

struct Device {
  std::string name;
  std::vector<Slot> slots;
  std::uint32_t free_slots = 0;
  BookedOrder booked;       // waiting requests that are expected to run here
  Duration booked_work{0};  // sum over `booked`
};

struct View {
  TimePoint now;
  std::span<const Device> devices;
  std::span<const Generation> generations;
  std::span<const Application> applications;
  std::span<const QueueHead> heads;  // by QueueIndex
  std::span<const Queue> queues;     // by QueueIndex
  std::uint32_t waiting = 0;         // requests in all queues
  std::uint32_t max_waiting = 0;     // bound of `waiting`
};

}  // namespace duly
