// SPDX-License-Identifier: Apache-2.0
#include "policy/edf/edf.h"

#include <algorithm>

#include "policy/common/heads.h"

namespace duly {
namespace {

bool HasPromise(const Request& request) { return request.deadline != kNever && !request.demoted; }

// How far a device is booked: time until its first free slot, and the sum of what its slots still
// run.
struct Residual {
  Duration first{Duration::max()};
  Duration total{0};
};

Residual ResidualOf(const View& view, const Device& device) {
  Residual residual;
  for (const Slot& slot : device.slots) {
    const Duration left =
        slot.busy ? std::max(slot.predicted_end - view.now, Duration(0)) : Duration(0);
    residual.first = std::min(residual.first, left);
    residual.total += left;
  }
  return residual;
}

// Until a request starts that has `ahead` of queued work before it: list scheduling keeps no slot
// idle while work waits.
Duration UntilStart(const Residual& residual, Duration ahead, const Device& device) {
  if (ahead <= Duration(0)) return residual.first;
  const Duration shared = (residual.total + ahead) / static_cast<std::int64_t>(device.slots.size());
  return std::max(residual.first, shared);
}

// Device time of `rows` more rows in a queue where `waiting` rows stand, if batches grow as large
// as both allow.
Duration WorkOf(const ServicePrediction& service, std::uint32_t rows, std::uint64_t waiting,
                std::uint32_t max_rows) {
  const std::uint64_t cap = std::max(max_rows, rows);
  const auto batch = static_cast<std::uint32_t>(std::min<std::uint64_t>(waiting + rows, cap));
  const Duration alone = service.Mean(rows);
  const Duration shared = service.Mean(batch) * rows / batch;
  return std::min(alone, shared);
}

}  // namespace

TimePoint EdfPolicy::Due(const Request& request) const {
  if (request.deadline == kNever) return kNever;
  const Duration promise = request.deadline - request.arrival;
  return request.deadline - std::min(options_.reserve, promise / 10);
}

EdfPolicy::Shares EdfPolicy::SharesOf(const View& view) const {
  Shares shares;
  for (const Application& application : view.applications) {
    if (application.last_arrival == TimePoint::min() ||
        view.now - application.last_arrival > 2 * RecentSum::kWindow) {
      continue;
    }
    shares.weight += application.weight;
    shares.on_time += static_cast<double>(application.on_time.Value(view.now).count());
  }
  return shares;
}

bool EdfPolicy::BelowShare(const View& view, const Shares& shares, ApplicationIndex index) const {
  const Application& application = view.applications[index];
  const double got = static_cast<double>(application.on_time.Value(view.now).count());
  return got * shares.weight < options_.entitlement * application.weight * shares.on_time;
}

bool EdfPolicy::AboveShare(const View& view, const Shares& shares, ApplicationIndex index) const {
  const Application& application = view.applications[index];
  const double got = static_cast<double>(application.on_time.Value(view.now).count());
  return got * shares.weight > application.weight * shares.on_time;
}

EdfPolicy::Plan EdfPolicy::Predict(const View& view, const Request& candidate,
                                   std::uint32_t variant, const Generation& generation) const {
  Plan best;
  Duration best_finish = Duration::max();
  for (const Placement& placement : generation.variants[variant].placements) {
    const Device& device = view.devices[placement.device];
    const Duration work = WorkOf(placement.service, candidate.rows,
                                 view.queues[candidate.queue].rows, generation.max_rows);
    const Residual residual = ResidualOf(view, device);
    Duration ahead{0};
    const auto slots = static_cast<std::int64_t>(device.slots.size());
    bool others_hold = true;
    if (!candidate.demoted) {
      // In order of due: what stands before the candidate delays it, what stands behind is delayed
      // by it.
      bool behind = false;
      Duration before{0};
      for (const Request& other : device.booked) {
        if (!behind && DueOrder()(candidate, other)) {
          behind = true;
          ahead = before;
          if (candidate.deadline == kNever) break;
        }
        if (behind && HasPromise(other)) {
          const TimePoint finish = view.now + (residual.total + before) / slots + other.booked_work;
          // One that is late anyway is not made late by the candidate.
          if (finish <= Due(other) && finish + work / slots > Due(other)) {
            others_hold = false;
            break;
          }
        }
        before += other.booked_work;
      }
      if (!behind) ahead = before;
    } else {
      ahead = device.booked_work;
    }
    const Duration finish =
        UntilStart(residual, ahead, device) + placement.service.Safe(candidate.rows);
    if (finish >= best_finish && best.feasible) continue;
    const bool feasible =
        others_hold && (candidate.deadline == kNever || view.now + finish <= Due(candidate));
    if (feasible == best.feasible && finish >= best_finish) continue;
    if (best.feasible && !feasible) continue;
    best_finish = finish;
    best.feasible = feasible;
    best.device = placement.device;
    best.variant = variant;
    best.work = work;
    best.response = finish;
  }
  return best;
}

bool EdfPolicy::MakeRoom(const View& view, const Request& candidate, const Plan& plan,
                         Victims& victims) const {
  if (plan.device == kNoIndex) return false;
  const Shares shares = SharesOf(view);
  if (!BelowShare(view, shares, candidate.application)) return false;
  const Device& device = view.devices[plan.device];
  const Residual residual = ResidualOf(view, device);
  const auto slots = static_cast<std::int64_t>(device.slots.size());
  const Duration service = plan.work;

  // One pass in order of due. `spare` holds those passed so far that may still be sent away.
  std::array<const Request*, Victims::kCapacity> spare{};
  std::size_t spares = 0;
  Duration before{0};
  bool placed = false;
  const auto give_up_until = [&](TimePoint limit, Duration own) {
    while (view.now + (residual.total + before) / slots + own > limit) {
      if (spares == 0) return false;
      const Request* victim = spare.at(--spares);
      before -= victim->booked_work;
      if (!victims.Add(*victim)) return false;
    }
    return true;
  };
  const auto place_candidate = [&] {
    placed = true;
    if (view.now + residual.first + service > Due(candidate)) return false;
    if (!give_up_until(Due(candidate), service)) return false;
    before += service;
    return true;
  };
  for (const Request& other : device.booked) {
    if (!placed && DueOrder()(candidate, other) && !place_candidate()) return false;
    const bool may_yield = other.on_miss != OnMiss::kServeLate &&
                           other.application != candidate.application &&
                           AboveShare(view, shares, other.application);
    if (may_yield && spares < spare.size()) spare.at(spares++) = &other;
    if (placed && HasPromise(other)) {
      const TimePoint without = view.now + (residual.total + before - service) / slots;
      if (without + other.booked_work <= Due(other)) {
        before += other.booked_work;
        // Counted as placed, so that it can itself be the one to go.
        while (view.now + (residual.total + before - other.booked_work) / slots +
                   other.booked_work >
               Due(other)) {
          if (spares == 0) return false;
          const Request* victim = spare.at(--spares);
          before -= victim->booked_work;
          if (!victims.Add(*victim)) return false;
          if (victim == &other) break;
        }
        continue;
      }
    }
    before += other.booked_work;
  }
  return placed || place_candidate();
}

Admission EdfPolicy::Admit(const View& view, const Request& candidate,
                           GenerationIndex generation_index, VariantMask allowed,
                           Victims& victims) {
  const Generation& generation = view.generations[generation_index];
  Admission admission;
  const auto accept = [&](const Plan& plan, VariantMask variants) {
    admission.variants = variants;
    admission.variant = plan.variant;
    admission.device = plan.device;
    admission.work = plan.work;
    admission.predicted = plan.response;
    if (candidate.deadline != kNever && candidate.on_miss != OnMiss::kServeLate) {
      admission.drop_at = candidate.deadline;
    }
  };

  Plan plan = Predict(view, candidate, candidate.variant, generation);
  if (plan.device == kNoIndex) {
    admission.accept = false;
    admission.reason = RejectReason::kModelUnavailable;
    return admission;
  }
  accept(plan, allowed);

  if (candidate.deadline != kNever && !plan.feasible) {
    bool placed = false;
    if (candidate.on_miss == OnMiss::kDegrade) {
      // The most accurate of the faster variants that fits.
      std::uint32_t chosen = kNoIndex;
      Plan degraded;
      ForEachVariant(allowed & ~(VariantMask{1} << candidate.variant), [&](std::uint32_t v) {
        if (chosen != kNoIndex &&
            generation.variants[v].accuracy_pct <= generation.variants[chosen].accuracy_pct) {
          return;
        }
        const Plan faster = Predict(view, candidate, v, generation);
        if (!faster.feasible) return;
        chosen = v;
        degraded = faster;
      });
      if (chosen != kNoIndex) {
        VariantMask narrowed = 0;
        ForEachVariant(allowed, [&](std::uint32_t v) {
          if (generation.variants[v].accuracy_pct <= generation.variants[chosen].accuracy_pct) {
            narrowed |= VariantMask{1} << v;
          }
        });
        accept(degraded, narrowed);
        placed = true;
      }
    }
    if (!placed && MakeRoom(view, candidate, plan, victims)) placed = true;
    if (!placed) {
      victims.Clear();
      if (candidate.on_miss == OnMiss::kServeLate) {
        admission.demoted = true;
      } else {
        admission.accept = false;
        admission.reason = RejectReason::kPredictedLate;
        return admission;
      }
    }
  }

  if (view.waiting >= view.max_waiting && victims.indices().empty()) {
    // A full house: the last in order of an application above its share gives way to one below.
    const Shares shares = SharesOf(view);
    if (BelowShare(view, shares, candidate.application)) {
      const BookedOrder& booked = view.devices[admission.device].booked;
      for (auto it = booked.rbegin(); it != booked.rend(); ++it) {
        if (it->application == candidate.application ||
            !AboveShare(view, shares, it->application)) {
          continue;
        }
        victims.Add(*it);
        break;
      }
    }
  }
  return admission;
}

std::uint32_t EdfPolicy::ChooseVariant(const View& view, const Queue& queue, const Request& head,
                                       DeviceIndex device) const {
  // The most accurate that keeps the promise; demoted and promise-less requests get the preferred
  // one.
  const Generation& generation = view.generations[queue.generation];
  if (!HasPromise(head)) return MostAccurateStartable(generation, queue.variants, device);
  std::uint32_t best = kNoIndex;
  ForEachVariant(queue.variants, [&](std::uint32_t v) {
    const Variant& variant = generation.variants[v];
    if (best != kNoIndex && variant.accuracy_pct <= generation.variants[best].accuracy_pct) return;
    const Placement* placement = Startable(variant, device);
    if (placement == nullptr) return;
    if (view.now + placement->service.Mean(head.rows) > Due(head)) return;
    best = v;
  });
  return best;
}

bool EdfPolicy::AnotherDeviceCan(const View& view, const Queue& queue, const Request& head,
                                 DeviceIndex device) const {
  bool can = false;
  const Generation& generation = view.generations[queue.generation];
  ForEachVariant(queue.variants, [&](std::uint32_t v) {
    for (const Placement& placement : generation.variants[v].placements) {
      if (placement.device == device) continue;
      const Residual residual = ResidualOf(view, view.devices[placement.device]);
      if (view.now + residual.first + placement.service.Mean(head.rows) <= Due(head)) can = true;
    }
  });
  return can;
}

Dispatch EdfPolicy::Next(const View& view, DeviceIndex device) {
  Dispatch decision;
  const QueueHead* last = nullptr;  // heads up to this one were passed over
  TimePoint ask_again = kNever;
  for (;;) {
    // The earliest head that the device may run, and the one after it.
    QueueIndex best = kNoIndex;
    QueueIndex second = kNoIndex;
    for (QueueIndex q = 0; q < view.heads.size(); ++q) {
      const QueueHead& head = view.heads[q];
      if (head.count == 0 || (last != nullptr && !Before(*last, head))) continue;
      if (best != kNoIndex && !Before(head, view.heads[best])) {
        if (second == kNoIndex || Before(head, view.heads[second])) second = q;
        continue;
      }
      if (MostAccurateStartable(view.generations[head.generation], head.variants, device) ==
          kNoIndex) {
        continue;
      }
      second = best;
      best = q;
    }
    if (best == kNoIndex) {
      decision.ask_again = ask_again;
      return decision;
    }
    const Queue& queue = view.queues[best];
    const Generation& generation = view.generations[queue.generation];
    const Request& head = *queue.waiting.begin();
    decision.queue = best;

    const std::uint32_t variant = ChooseVariant(view, queue, head, device);
    if (variant == kNoIndex) {
      if (AnotherDeviceCan(view, queue, head, device)) {
        last = &view.heads[best];
        continue;
      }
      decision.kind =
          head.on_miss == OnMiss::kServeLate ? Dispatch::Kind::kDemote : Dispatch::Kind::kReject;
      return decision;
    }
    const ServicePrediction& service = generation.variants[variant].On(device)->service;

    // A batch that runs long must not take the last free slot from the next head's promise.
    TimePoint limit = kNever;
    if (second != kNoIndex && view.devices[device].free_slots == 1) {
      const Queue& other = view.queues[second];
      const Request& next = *other.waiting.begin();
      const Placement* placement =
          view.generations[other.generation].variants[next.variant].On(device);
      if (placement != nullptr && HasPromise(next)) {
        const TimePoint latest_start = Due(next) - placement->service.Mean(next.rows);
        if (view.now + service.Mean(head.rows) <= latest_start) limit = latest_start;
      }
    }

    std::uint32_t rows = head.rows;
    std::uint32_t count = 1;
    TimePoint tightest = HasPromise(head) ? Due(head) : kNever;
    bool more_would_pay = generation.max_rows > rows;
    for (auto it = std::next(queue.waiting.begin()); it != queue.waiting.end(); ++it) {
      if (rows + it->rows > generation.max_rows) {
        more_would_pay = false;
        break;
      }
      const Duration grown = service.Mean(rows + it->rows);
      // Only where it saves device time: otherwise the first in the batch just wait for the last.
      if (grown > (service.Mean(rows) + service.Mean(it->rows)) / 100 * 98) {
        more_would_pay = false;
        break;
      }
      const TimePoint due = std::min(tightest, HasPromise(*it) ? Due(*it) : kNever);
      if (view.now + grown > due || view.now + grown > limit) {
        more_would_pay = false;
        break;
      }
      tightest = due;
      rows += it->rows;
      ++count;
    }

    if (more_would_pay && options_.max_fill_wait > Duration(0) && rows < generation.max_rows) {
      TimePoint until = SaturatingAdd(head.arrival, options_.max_fill_wait);
      if (tightest != kNever) {
        until = std::min(until, tightest - service.Safe(std::min(2 * rows, generation.max_rows)));
      }
      if (head.expiry != kNever) until = std::min(until, head.expiry - service.Mean(rows));
      if (until > view.now) {
        ask_again = std::min(ask_again, until);
        last = &view.heads[best];
        continue;
      }
    }
    decision.kind = Dispatch::Kind::kRun;
    decision.count = count;
    decision.variant = variant;
    return decision;
  }
}

}  // namespace duly
