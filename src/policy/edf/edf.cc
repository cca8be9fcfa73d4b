// SPDX-License-Identifier: Apache-2.0
#include "policy/edf/edf.h"

#include <algorithm>
#include <bit>

#include "policy/common/heads.h"

namespace duly {
namespace {

// Bounds the work of an arrival. Each try sends away as much as was found to be too much.
constexpr int kRoomTries = 8;

std::uint32_t MostAccurate(const Generation& generation, VariantMask mask) {
  std::uint32_t best = kNoIndex;
  ForEachVariant(mask, [&](std::uint32_t v) {
    if (best == kNoIndex ||
        generation.variants[v].accuracy_pct > generation.variants[best].accuracy_pct) {
      best = v;
    }
  });
  return best;
}

// By how much the queue's work grows, if it is served in batches as large as may be.
Duration WorkInQueue(const View& view, const Request& candidate) {
  const ServicePrediction& service =
      view.generations[candidate.generation].variants[candidate.variant].placements.front().service;
  const std::uint32_t cap =
      std::max(view.generations[candidate.generation].max_rows, candidate.rows);
  const std::uint32_t before =
      view.heads[candidate.queue].count * candidate.rows % (cap / candidate.rows * candidate.rows);
  return service.Mean(before + candidate.rows) - (before == 0 ? Duration(0) : service.Mean(before));
}

}  // namespace

const Request* EdfPolicy::LastOfTheGreediest(const View& view, const Request& candidate) const {
  const auto places_by_weight = [&](ApplicationIndex a, std::uint32_t more) {
    return (view.applications[a].waiting + more) / view.applications[a].weight;
  };
  ApplicationIndex greediest = candidate.application;
  for (ApplicationIndex a = 0; a < view.applications.size(); ++a) {
    if (places_by_weight(a, 0) > places_by_weight(greediest, 0)) greediest = a;
  }
  if (places_by_weight(candidate.application, 1) >= places_by_weight(greediest, 0)) return nullptr;
  const auto last = std::find_if(view.order.rbegin(), view.order.rend(),
                                 [&](const Request* r) { return r->application == greediest; });
  return last == view.order.rend() ? nullptr : *last;
}

bool EdfPolicy::CouldBeOnTimeAlone(const View& view, const Request& candidate,
                                   VariantMask allowed) const {
  bool could = false;
  ForEachVariant(allowed, [&](std::uint32_t v) {
    for (const Placement& placement :
         view.generations[candidate.generation].variants[v].placements) {
      could = could ||
              view.now + placement.service.Mean(candidate.rows) <= outlook_.PromiseOf(candidate);
    }
  });
  return could;
}

bool EdfPolicy::Fits(const View& view, const Request& candidate, const Victims& victims, Plan& plan,
                     Obstacle& obstacle) {
  outlook_.Reset(view, Margins());
  for (const std::uint32_t victim : victims.indices()) outlook_.Remove(victim);
  outlook_.Add(
      candidate, plan.variants,
      shares_.Overtaking(view, candidate.application, candidate.deadline - candidate.arrival));
  plan.prediction = outlook_.RunForward();
  if (!plan.prediction.on_time) {
    obstacle = {&candidate, plan.prediction.late};
    return false;
  }
  if (outlook_.misses().empty()) return true;
  // Those that are late anyway are not late because of the candidate.
  misses_.assign(outlook_.misses().begin(), outlook_.misses().end());
  outlook_.Reset(view, Margins());
  outlook_.RunForward();
  for (const Outlook::Miss& miss : misses_) {
    if (outlook_.Missed(miss.request->index)) continue;
    obstacle = {miss.request, miss.late};
    return false;
  }
  return true;
}

bool EdfPolicy::MakeRoom(const View& view, const Request& candidate, Victims& victims, Plan& plan,
                         Obstacle obstacle) {
  for (int tries = 0; tries < kRoomTries; ++tries) {
    // The last in order that stand before the obstacle lose least.
    const std::size_t yielding_before = yielding_.size();
    auto at =
        std::upper_bound(view.order.begin(), view.order.end(), obstacle.request,
                         [](const Request* a, const Request* b) { return DueOrder()(*a, *b); });
    for (Duration freed{0}; at != view.order.begin() && freed <= obstacle.late;) {
      const Request& other = **--at;
      if (other.deadline == kNever || other.demoted || other.on_miss == OnMiss::kServeLate ||
          !shares_.Above(other.application) ||
          std::find(yielding_.begin(), yielding_.end(), &other) != yielding_.end()) {
        continue;
      }
      if (!victims.Add(other)) return false;
      yielding_.push_back(&other);
      freed += other.work;
    }
    if (yielding_.size() == yielding_before) return false;
    if (Fits(view, candidate, victims, plan, obstacle)) return true;
  }
  return false;
}

Admission EdfPolicy::AdmitUnpromised(const View& view, const Request& candidate,
                                     VariantMask allowed) {
  Admission admission;
  admission.variants = allowed;
  admission.variant = candidate.variant;
  admission.work = WorkInQueue(view, candidate);
  admission.due =
      std::max(candidate.due, shares_.ServerDeadline(view, candidate.application, admission.work));
  const Placement& placement =
      view.generations[candidate.generation].variants[candidate.variant].placements.front();
  shares_.Accepted(candidate.application, placement.device, placement.service.Mean(candidate.rows));
  for (const Request* request : yielding_) shares_.Refused(view, request->application);
  return admission;
}

EdfMargins EdfPolicy::Margins() const { return {options_.reserve, shares_.longest_waits()}; }

Admission EdfPolicy::Admit(const View& view, const Request& candidate, GenerationIndex,
                           VariantMask allowed, Victims& victims) {
  outlook_.Reserve(candidate.index + 1, view.queues.size());
  shares_.Reserve(view);
  yielding_.clear();
  const bool promised = candidate.deadline != kNever;
  shares_.Sent(view, candidate.application, candidate.due - candidate.arrival);
  const auto refuse = [&](RejectReason reason) {
    victims.Clear();
    if (!promised || CouldBeOnTimeAlone(view, candidate, allowed)) {
      shares_.Refused(view, candidate.application);
    }
    Admission admission;
    admission.accept = false;
    admission.reason = reason;
    return admission;
  };
  if (view.order.size() >= view.max_waiting) {
    const Request* last = LastOfTheGreediest(view, candidate);
    if (last == nullptr) return refuse(RejectReason::kQueueFull);
    victims.Add(*last);
    yielding_.push_back(last);
  }
  if (!promised) return AdmitUnpromised(view, candidate, allowed);
  const Generation& generation = view.generations[candidate.generation];
  Admission admission;
  Plan plan;
  Obstacle obstacle;
  plan.variants = allowed;
  bool fits = Fits(view, candidate, victims, plan, obstacle);
  // Down to the fastest that the request may get; more than one is left only if it degrades.
  while (!fits && !std::has_single_bit(plan.variants)) {
    plan.variants &= ~(VariantMask{1} << MostAccurate(generation, plan.variants));
    fits = Fits(view, candidate, victims, plan, obstacle);
  }
  if (!fits && shares_.Below(candidate.application)) {
    fits = MakeRoom(view, candidate, victims, plan, obstacle);
  }
  if (!fits) {
    if (candidate.on_miss != OnMiss::kServeLate) return refuse(RejectReason::kPredictedLate);
    shares_.Refused(view, candidate.application);
    victims.Clear();
    admission.demoted = true;
    admission.variants = allowed;
    admission.variant = candidate.variant;
    admission.work = WorkInQueue(view, candidate);
    return admission;
  }
  admission.variants = plan.variants;
  admission.variant = MostAccurate(generation, plan.variants);
  admission.predicted = plan.prediction.response;
  admission.work = plan.prediction.work;
  if (candidate.on_miss != OnMiss::kServeLate) admission.drop_at = candidate.deadline;
  shares_.Accepted(candidate.application, plan.prediction.device, plan.prediction.service);
  for (const Request* request : yielding_) shares_.Refused(view, request->application);
  return admission;
}

Dispatch EdfPolicy::Next(const View& view, DeviceIndex device) {
  outlook_.Reset(view, Margins());
  Dispatch decision;
  EdfStep step = outlook_.Next(device);
  while (step.kind == EdfStep::Kind::kRun && step.has_room &&
         options_.max_fill_wait > Duration(0)) {
    // Twice as many rows must still be in time; patience must not end meanwhile.
    const Request& head = *step.head;
    const std::uint32_t hoped = std::min(2 * step.rows, view.generations[head.generation].max_rows);
    TimePoint until = SaturatingAdd(head.arrival, options_.max_fill_wait);
    if (step.tightest != kNever) until = std::min(until, step.tightest - step.service->Safe(hoped));
    if (head.expiry != kNever) until = std::min(until, head.expiry - Duration(1));
    if (until <= view.now) break;
    decision.ask_again = std::min(decision.ask_again, until);
    step = outlook_.NextButNot(step, device);
  }
  if (step.kind == EdfStep::Kind::kNothing) return decision;
  decision.ask_again = kNever;
  decision.queue = step.head->queue;
  if (step.kind == EdfStep::Kind::kRun) {
    decision.kind = Dispatch::Kind::kRun;
    decision.count = step.count;
    decision.variant = step.variant;
  } else {
    decision.kind = step.head->on_miss == OnMiss::kServeLate ? Dispatch::Kind::kDemote
                                                             : Dispatch::Kind::kReject;
    shares_.Refused(view, step.head->application);
  }
  return decision;
}

}  // namespace duly
