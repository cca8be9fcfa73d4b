// SPDX-License-Identifier: Apache-2.0
#include "policy/edf/outlook.h"

#include <algorithm>

#include "base/check.h"
#include "policy/common/heads.h"

namespace duly {
namespace {

// A batch takes one more request only if that saves this part of the device time: profiles are not
// more exact, and the first in a batch waits for the last.
constexpr std::int64_t kLeastSavingPercent = 5;

// How many of the next requests of other queues a growing batch is careful about. What stands
// farther behind waits for these first, and a decision must not take longer than a microsecond.
constexpr int kLookAhead = 64;

}  // namespace

void Outlook::Reserve(std::size_t requests, std::size_t queues) {
  if (gone_.size() < requests) {
    gone_.resize(2 * requests);
    missed_.resize(2 * requests);
    misses_.reserve(2 * requests);
    order_copy_.reserve(2 * requests);
    queue_copy_.reserve(2 * requests);
  }
  // What is admitted for fewer variants may get a queue that is not there yet.
  if (queues_.size() <= queues) queues_.resize(2 * queues + 1);
}

void Outlook::Reset(const View& view, EdfMargins margins) {
  DULY_CHECK(view.queues.size() <= queues_.size());
  view_ = &view;
  margins_ = margins;
  now_ = view.now;
  candidate_ = nullptr;
  ++round_;
  misses_.clear();
  order_ = view.order;
  slots_.clear();
  for (DeviceIndex d = 0; d < view.devices.size(); ++d) {
    for (const Slot& slot : view.devices[d].slots) {
      SlotState& state = slots_.emplace_back();
      state.device = d;
      state.free_at = now_;
      if (!slot.busy) continue;
      state.generation = slot.generation;
      state.variant = slot.variant;
      // One that is overdue ends any moment, but not now.
      state.free_at = std::max(slot.predicted_end, now_ + Duration(1));
    }
  }
}

void Outlook::Add(const Request& candidate, VariantMask variants, double overtaking) {
  candidate_ = &candidate;
  candidate_variants_ = variants;
  overtaking_ = overtaking;
  const auto with_candidate = [&](std::span<const Request* const> order, auto& copy) {
    const auto place =
        std::upper_bound(order.begin(), order.end(), &candidate,
                         [](const Request* a, const Request* b) { return DueOrder()(*a, *b); });
    copy.assign(order.begin(), place);
    copy.push_back(&candidate);
    copy.insert(copy.end(), place, order.end());
  };
  with_candidate(view_->order, order_copy_);
  order_ = order_copy_;
  const Queue& queue = view_->queues[candidate.queue];
  candidate_alone_ = variants != queue.variants;
  with_candidate(candidate_alone_ ? std::span<const Request* const>() : queue.waiting, queue_copy_);
}

void Outlook::StartRound(const Request& request, QueueState& state) const {
  state.round = round_;
  if (candidate_ != nullptr &&
      (&request == candidate_ || (!candidate_alone_ && request.queue == candidate_->queue))) {
    state.waiting = queue_copy_;
  } else {
    state.waiting = view_->queues[request.queue].waiting;
  }
}

VariantMask Outlook::VariantsOf(const Request& request) const {
  return &request == candidate_ ? candidate_variants_ : view_->heads[request.queue].variants;
}

bool Outlook::HasInstances(const Placement& placement, const Request& head, std::uint32_t variant,
                           TimePoint t, std::uint32_t runs) const {
  if (placement.instances >= view_->devices[placement.device].slots.size()) return true;
  for (const SlotState& slot : slots_) {
    runs += slot.device == placement.device && slot.generation == head.generation &&
            slot.variant == variant && !slot.FreeAt(t);
  }
  return runs <= placement.instances;
}

bool Outlook::Choose(const Request& head, TimePoint t, DeviceIndex device, EdfStep& step) const {
  const Generation& generation = view_->generations[head.generation];
  const TimePoint promise = PromiseOf(head);
  ForEachVariant(VariantsOf(head), [&](std::uint32_t v) {
    const Variant& variant = generation.variants[v];
    const Placement* placement = variant.On(device);
    if (placement == nullptr || !HasInstances(*placement, head, v, t, 1)) return;
    const Duration mean = placement->service.Mean(head.rows);
    if (t + mean <= promise) {
      // The most accurate of those that are in time.
      if (step.kind == EdfStep::Kind::kRun &&
          variant.accuracy_pct <= generation.variants[step.variant].accuracy_pct) {
        return;
      }
      step.kind = EdfStep::Kind::kRun;
    } else {
      // The fastest tells by how much the promise is missed.
      if (step.kind == EdfStep::Kind::kRun ||
          (step.kind == EdfStep::Kind::kMiss && mean >= step.mean)) {
        return;
      }
      step.kind = EdfStep::Kind::kMiss;
    }
    step.variant = v;
    step.service = &placement->service;
    step.mean = mean;
  });
  return step.kind != EdfStep::Kind::kNothing;
}

bool Outlook::AnotherDeviceCan(const Request& head, TimePoint t, DeviceIndex device) const {
  const Generation& generation = view_->generations[head.generation];
  const TimePoint promise = PromiseOf(head);
  bool can = false;
  ForEachVariant(VariantsOf(head), [&](std::uint32_t v) {
    for (const Placement& placement : generation.variants[v].placements) {
      if (placement.device == device) continue;
      const TimePoint latest = promise - placement.service.Mean(head.rows);
      for (const SlotState& slot : slots_) {
        can = can || (slot.device == placement.device && t <= latest &&
                      (slot.FreeAt(t) || slot.free_at <= latest));
      }
    }
  });
  return can;
}

// Whether such a service ends after the promise about one time in five: one mean deviation is left
// for it.
bool Outlook::IsDoubtful(const EdfStep& step, TimePoint t) const {
  const Duration deviation = (step.service->Safe(step.head->rows) - step.mean) / 2;
  return t + step.mean + deviation > PromiseOf(*step.head);
}

EdfStep Outlook::Next(DeviceIndex device) {
  ++ask_;
  return Decide(now_, device);
}

EdfStep Outlook::NextButNot(const EdfStep& step, DeviceIndex device) {
  StateOf(*step.head).passed_over = ask_;
  return Decide(now_, device);
}

EdfStep Outlook::Decide(TimePoint t, DeviceIndex device) {
  EdfStep step;
  EdfStep doubtful;
  std::size_t behind_doubtful = 0;
  SkipGone(order_);
  for (std::size_t i = 0; i < order_.size(); ++i) {
    const Request* request = order_[i];
    if (Gone(*request)) continue;
    QueueState& queue = StateOf(*request);
    if (queue.passed_over == ask_) continue;
    step.kind = EdfStep::Kind::kNothing;
    step.head = request;
    if (request->expiry <= t) {
      step.mean = Duration(0);
      step.kind = EdfStep::Kind::kMiss;
      return step;
    }
    if (!Choose(*request, t, device, step)) {
      queue.passed_over = ask_;
    } else if (step.kind == EdfStep::Kind::kMiss) {
      if (!AnotherDeviceCan(*request, t, device)) return step;
      queue.passed_over = ask_;
    } else if (IsDoubtful(step, t)) {
      // Only if nothing else wants the slot that is surer to use it well.
      if (doubtful.kind == EdfStep::Kind::kNothing) {
        doubtful = step;
        behind_doubtful = i + 1;
      }
      queue.passed_over = ask_;
    } else {
      Grow(order_.subspan(i + 1), t, device, step);
      return step;
    }
  }
  if (doubtful.kind == EdfStep::Kind::kRun) {
    Grow(order_.subspan(behind_doubtful), t, device, doubtful);
  }
  return doubtful;
}

void Outlook::Grow(Waiting others, TimePoint t, DeviceIndex device, EdfStep& step) {
  const Request& head = *step.head;
  step.count = 1;
  step.rows = head.rows;
  step.tightest = PromiseOf(head);
  members_.assign(1, &head);
  const Generation& generation = view_->generations[head.generation];
  if (step.rows >= generation.max_rows) return;
  step.has_room = true;
  Waiting& queue = StateOf(head).waiting;
  SkipGone(queue);

  // A free slot beside takes the next one sooner.
  std::int64_t slots = 0;
  std::int64_t free_slots = 0;
  TimePoint other_free = kNever;
  for (const SlotState& slot : slots_) {
    if (slot.device != device) continue;
    ++slots;
    if (slot.FreeAt(t)) {
      ++free_slots;
    } else {
      other_free = std::min(other_free, slot.free_at);
    }
  }
  if (free_slots > 1) {
    const Placement& placement = *generation.variants[step.variant].On(device);
    if (HasInstances(placement, head, step.variant, t, 2)) return;
    other_free = t;
  }

  // The batch must end by `limit`, so that the others keep the promises that they can keep now: in
  // order, on the other slots where these come in time, else behind this batch.
  TimePoint limit = kNever;
  if (device < margins_.longest_waits.size()) {
    const TimePoint longest = SaturatingAdd(t, margins_.longest_waits[device]);
    if (other_free > longest) limit = longest;
  }
  Duration behind{0};
  Duration beside{0};
  int looked = 0;
  auto other = others.begin();
  // The head is the first of its queue.
  for (const Request* request : queue.subspan(1)) {
    if (Gone(*request)) continue;
    for (; looked < kLookAhead && *other != request; ++other) {
      if (Gone(**other) || ((*other)->queue == head.queue && !IsAlone(**other))) continue;
      ++looked;
      const TimePoint promise = PromiseOf(**other);
      const Duration work = (*other)->work;
      if (slots > 1 && other_free + beside / (slots - 1) + work <= promise) {
        beside += work;
      } else if (t + step.mean + behind + work <= promise) {
        behind += work;
        if (promise != kNever) limit = std::min(limit, promise - behind);
      }
    }
    step.has_room = false;
    if (step.rows + request->rows > generation.max_rows) return;
    const Duration grown = step.service->Mean(step.rows + request->rows);
    const Duration apart = step.mean + step.service->Mean(request->rows);
    if (apart - grown < apart * kLeastSavingPercent / 100) return;
    const TimePoint tightest = std::min(step.tightest, PromiseOf(*request));
    if (t + grown > std::min(tightest, limit)) return;
    step.tightest = tightest;
    step.mean = grown;
    step.rows += request->rows;
    ++step.count;
    members_.push_back(request);
    step.has_room = step.rows < generation.max_rows;
  }
}

bool Outlook::AnythingPromised() {
  SkipGone(order_);
  return !order_.empty() && !order_.front()->demoted;
}

// Until one of those that run then frees something.
void Outlook::PutOff(SlotState& slot) const {
  TimePoint next = kNever;
  for (const SlotState& other : slots_) {
    if (!other.FreeAt(slot.free_at)) next = std::min(next, other.free_at);
  }
  slot.generation = kNoIndex;
  slot.free_at = next;
}

Outlook::Prediction Outlook::RunForward() {
  Prediction prediction;
  while (AnythingPromised()) {
    SlotState& slot = *std::min_element(
        slots_.begin(), slots_.end(),
        [](const SlotState& a, const SlotState& b) { return a.free_at < b.free_at; });
    const TimePoint t = slot.free_at;
    if (t == kNever) break;
    ++ask_;
    const EdfStep step = Decide(t, slot.device);
    if (step.kind == EdfStep::Kind::kNothing) {
      PutOff(slot);
      continue;
    }
    if (step.kind == EdfStep::Kind::kMiss) {
      Remove(step.head->index);
      const TimePoint promise = PromiseOf(*step.head);
      if (promise == kNever) continue;
      const Duration late = std::max(t + step.mean - promise, t - step.head->expiry);
      misses_.push_back({step.head, late});
      missed_[step.head->index] = round_;
      if (step.head == candidate_) {
        prediction.late = late;
        return prediction;
      }
      continue;
    }
    slot.free_at = t + step.mean;
    slot.generation = step.head->generation;
    slot.variant = step.variant;
    for (const Request* member : members_) {
      Remove(member->index);
      if (member != candidate_) continue;
      // Overtaking stretches the wait, as in a queue behind one of higher priority (Cobham 1954).
      const Duration wait(
          static_cast<std::int64_t>(static_cast<double>((t - now_).count()) / (1 - overtaking_)));
      prediction.late = now_ + wait + step.mean - PromiseOf(*member);
      prediction.on_time = prediction.late <= Duration(0);
      prediction.device = slot.device;
      prediction.response = slot.free_at - now_;
      prediction.service = step.mean;
      prediction.work =
          step.mean -
          (step.rows > member->rows ? step.service->Mean(step.rows - member->rows) : Duration(0));
      if (!prediction.on_time) return prediction;
    }
  }
  return prediction;
}

}  // namespace duly
