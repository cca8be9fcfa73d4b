// SPDX-License-Identifier: Apache-2.0
#include "policy/edf/outlook.h"

#include <algorithm>

#include "policy/common/heads.h"

namespace duly {
namespace {

// A batch takes one more request only if that saves this part of the device time: profiles are not
// more exact, and the first in a batch waits for the last.
constexpr std::int64_t kLeastSavingPercent = 5;

// How many requests of other queues are looked at while a batch grows: bounds the time of a
// decision to about a microsecond.
constexpr int kLookAhead = 256;

}  // namespace

void Outlook::Reserve(std::size_t requests, std::size_t queues) {
  if (gone_.size() < requests) {
    gone_.resize(2 * requests);
    missed_.resize(2 * requests);
  }
  // One more for a candidate in a queue that is not there yet.
  if (queues_.size() < queues + 1) queues_.resize(2 * queues + 1);
}

void Outlook::Reset(const View& view, EdfMargins margins) {
  view_ = &view;
  margins_ = margins;
  now_ = view.now;
  candidate_ = nullptr;
  ++round_;
  misses_.clear();
  first_ = {view.order->begin(), false};
  slots_.clear();
  for (DeviceIndex d = 0; d < view.devices.size(); ++d) {
    for (const Slot& slot : view.devices[d].slots) {
      SlotState state;
      state.device = d;
      state.free_at = now_;
      if (slot.busy) {
        state.generation = slot.generation;
        state.variant = slot.variant;
        // One that is overdue ends any moment, but not now.
        state.free_at = std::max(slot.predicted_end, now_ + Duration(1));
      }
      slots_.push_back(state);
    }
  }
}

void Outlook::Add(const Request& candidate, VariantMask variants, double overtaking) {
  candidate_ = &candidate;
  candidate_variants_ = variants;
  candidate_alone_ = variants != view_->queues[candidate.queue].variants;
  overtaking_ = overtaking;
  first_.candidate = true;
}

TimePoint Outlook::PromiseOf(const Request& request) const {
  if (request.deadline == kNever || request.demoted) return kNever;
  return request.deadline - std::min(margins_.reserve, (request.deadline - request.arrival) / 10);
}

const Request* Outlook::Take(Walk& walk) const {
  if (walk.candidate && (walk.at == view_->order->end() || DueOrder()(*candidate_, *walk.at))) {
    walk.candidate = false;
    return candidate_;
  }
  return walk.at == view_->order->end() ? nullptr : &*walk.at++;
}

std::size_t Outlook::QueueOf(const Request& request) const {
  return &request == candidate_ && candidate_alone_ ? queues_.size() - 1 : request.queue;
}

VariantMask Outlook::VariantsOf(const Request& request) const {
  return &request == candidate_ ? candidate_variants_ : view_->heads[request.queue].variants;
}

std::uint32_t Outlook::FreeInstances(const Placement& placement, GenerationIndex generation,
                                     std::uint32_t variant, TimePoint t) const {
  std::uint32_t running = 0;
  for (const SlotState& slot : slots_) {
    running += slot.device == placement.device && slot.generation == generation &&
               slot.variant == variant && !slot.FreeAt(t);
  }
  return placement.instances - std::min(placement.instances, running);
}

bool Outlook::Choose(const Request& head, TimePoint t, DeviceIndex device, EdfStep& step) const {
  const Generation& generation = view_->generations[head.generation];
  const TimePoint promise = PromiseOf(head);
  bool startable = false;
  ForEachVariant(VariantsOf(head), [&](std::uint32_t v) {
    const Variant& variant = generation.variants[v];
    const Placement* placement = variant.On(device);
    if (placement == nullptr || FreeInstances(*placement, head.generation, v, t) == 0) return;
    const Duration mean = placement->service.Mean(head.rows);
    if (t + mean > promise) {
      // The fastest tells by how much the promise is missed.
      if (step.kind != EdfStep::Kind::kRun && (!startable || mean < step.mean)) step.mean = mean;
      startable = true;
      return;
    }
    startable = true;
    if (step.kind == EdfStep::Kind::kRun &&
        variant.accuracy_pct <= generation.variants[step.variant].accuracy_pct) {
      return;
    }
    step.kind = EdfStep::Kind::kRun;
    step.variant = v;
    step.service = &placement->service;
    step.mean = mean;
  });
  if (startable && step.kind != EdfStep::Kind::kRun) step.kind = EdfStep::Kind::kMiss;
  return startable;
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

EdfStep Outlook::NextButNot(const EdfStep& step, DeviceIndex device) {
  queues_[QueueOf(*step.head)].passed_over = asked_;
  return Decide(now_, device);
}

// Whether one in five such services or more would end after the promise: one mean deviation is left
// for them.
bool Outlook::IsDoubtful(const EdfStep& step, TimePoint t) const {
  const Duration deviation = (step.service->Safe(step.head->rows) - step.mean) / 2;
  return t + step.mean + deviation > PromiseOf(*step.head);
}

EdfStep Outlook::Decide(TimePoint t, DeviceIndex device) {
  Walk walk = first_;
  EdfStep doubtful;
  Walk behind_doubtful;
  while (const Request* request = Take(walk)) {
    QueueState& queue = queues_[QueueOf(*request)];
    if (Gone(*request) || queue.passed_over == asked_) continue;
    EdfStep step;
    step.head = request;
    if (request->expiry <= t) {
      step.kind = EdfStep::Kind::kMiss;
      return step;
    }
    if (!Choose(*request, t, device, step) ||
        (step.kind == EdfStep::Kind::kMiss && AnotherDeviceCan(*request, t, device))) {
      queue.passed_over = asked_;
      continue;
    }
    if (step.kind == EdfStep::Kind::kMiss) return step;
    if (IsDoubtful(step, t)) {
      if (doubtful.kind == EdfStep::Kind::kNothing) {
        doubtful = step;
        behind_doubtful = walk;
      }
      queue.passed_over = asked_;
      continue;
    }
    Grow(walk, t, device, step);
    return step;
  }
  if (doubtful.kind == EdfStep::Kind::kRun) Grow(behind_doubtful, t, device, doubtful);
  return doubtful;
}

void Outlook::Grow(Walk walk, TimePoint t, DeviceIndex device, EdfStep& step) {
  step.count = 1;
  step.rows = step.head->rows;
  step.tightest = PromiseOf(*step.head);
  members_.assign(1, step.head);
  const std::size_t queue = QueueOf(*step.head);
  const Generation& generation = view_->generations[step.head->generation];
  if (step.rows >= generation.max_rows) return;
  step.has_room = true;
  std::uint32_t left = queue < view_->heads.size() ? view_->heads[queue].count : 0;
  if (queues_[queue].taken_round == round_) left -= queues_[queue].taken;
  if (candidate_ != nullptr && !Gone(*candidate_) && QueueOf(*candidate_) == queue) ++left;
  if (--left == 0) return;

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
    if (FreeInstances(placement, step.head->generation, step.variant, t) > 1) return;
    other_free = t;
  }

  // The batch must end by `limit`, so that all others keep the promise that they can keep now:
  // in order, on the other slots if these come in time, else behind this batch.
  TimePoint limit = kNever;
  if (device < margins_.shortest_promises.size()) {
    const TimePoint longest = SaturatingAdd(t, margins_.shortest_promises[device]);
    if (other_free > longest) limit = longest;
  }
  Duration behind{0};
  Duration beside{0};
  for (int looked = 0; looked < kLookAhead && t + step.mean < limit;) {
    const Request* request = Take(walk);
    if (request == nullptr) return;
    if (Gone(*request)) continue;
    const TimePoint promise = PromiseOf(*request);
    if (QueueOf(*request) != queue) {
      ++looked;
      if (slots > 1 && other_free + beside / (slots - 1) + request->work <= promise) {
        beside += request->work;
      } else if (t + step.mean + behind + request->work <= promise) {
        behind += request->work;
        if (promise != kNever) limit = std::min(limit, promise - behind);
      }
      continue;
    }
    step.has_room = false;
    if (step.rows + request->rows > generation.max_rows) return;
    const Duration grown = step.service->Mean(step.rows + request->rows);
    const Duration apart = step.mean + step.service->Mean(request->rows);
    if (apart - grown < apart * kLeastSavingPercent / 100) return;
    const TimePoint tightest = std::min(step.tightest, promise);
    if (t + grown > tightest || t + grown > limit) return;
    step.tightest = tightest;
    step.mean = grown;
    step.rows += request->rows;
    ++step.count;
    members_.push_back(request);
    step.has_room = step.rows < generation.max_rows;
    if (--left == 0) return;
  }
  step.has_room = false;
}

void Outlook::Leave(const Request& request) {
  gone_[request.index] = round_;
  QueueState& queue = queues_[QueueOf(request)];
  if (queue.taken_round != round_) {
    queue.taken_round = round_;
    queue.taken = 0;
  }
  ++queue.taken;
}

bool Outlook::AnythingPromised() {
  for (;;) {
    Walk walk = first_;
    const Request* request = Take(walk);
    if (request == nullptr || request->demoted) return false;
    if (!Gone(*request)) return true;
    first_ = walk;
  }
}

// Until one of those that run now frees something.
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
    ++asked_;
    const EdfStep step = Decide(t, slot.device);
    if (step.kind == EdfStep::Kind::kNothing) {
      PutOff(slot);
      continue;
    }
    if (step.kind == EdfStep::Kind::kMiss) {
      Leave(*step.head);
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
      Leave(*member);
      if (member != candidate_) continue;
      // Overtaking stretches the wait, as a queue's behind one of higher priority (Cobham 1954).
      const Duration wait(
          static_cast<std::int64_t>(static_cast<double>((t - now_).count()) / (1 - overtaking_)));
      prediction.late = now_ + wait + step.mean - PromiseOf(*candidate_);
      prediction.on_time = prediction.late <= Duration(0);
      prediction.device = slot.device;
      prediction.service = step.mean;
      prediction.response = slot.free_at - now_;
      prediction.work =
          step.mean -
          (step.rows > member->rows ? step.service->Mean(step.rows - member->rows) : Duration(0));
      if (!prediction.on_time) return prediction;
    }
  }
  return prediction;
}

}  // namespace duly
