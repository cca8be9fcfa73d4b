// SPDX-License-Identifier: Apache-2.0
#include "policy/size_or_timeout/size_or_timeout.h"

#include <algorithm>

#include "policy/common/heads.h"

namespace duly {

Admission SizeOrTimeoutPolicy::Admit(const View&, const Request& candidate, GenerationIndex,
                                     VariantMask allowed, Victims&) {
  Admission admission;
  admission.variants = allowed;
  admission.variant = candidate.variant;
  if (options_.give_up_after > 0 && candidate.deadline != kNever) {
    const auto promise = static_cast<double>((candidate.deadline - candidate.arrival).count());
    admission.drop_at =
        candidate.arrival + Duration(static_cast<std::int64_t>(promise * options_.give_up_after));
  }
  return admission;
}

SizeOrTimeoutPolicy::Ready SizeOrTimeoutPolicy::ReadyOf(const View& view,
                                                        const Queue& queue) const {
  const Generation& generation = view.generations[queue.generation];
  Ready ready;
  Duration delay = options_.max_queue_delay;
  std::span<const std::uint32_t> preferred;
  if (generation.batching) {
    delay = generation.batching->max_queue_delay;
    preferred = generation.batching->preferred_rows;
  }
  if (generation.max_rows <= 1 || delay < Duration(0)) {
    ready.count = 1;
    return ready;
  }

  // The largest prefix within the cap, and the largest within it that is a preferred size.
  std::uint32_t rows = 0;
  std::uint32_t count = 0;
  std::uint32_t preferred_count = 0;
  bool full = false;
  // Of a prefix: the first in order may have come later than one of a lower priority.
  TimePoint oldest = queue.waiting.front().arrival;
  for (const Request* request : queue.waiting) {
    if (count > 0 && rows + request->rows > generation.max_rows) {
      full = true;
      break;
    }
    rows += request->rows;
    ++count;
    oldest = std::min(oldest, request->arrival);
    if (std::find(preferred.begin(), preferred.end(), rows) != preferred.end()) {
      preferred_count = count;
    }
    if (rows >= generation.max_rows) {
      full = true;
      break;
    }
  }
  const TimePoint due = SaturatingAdd(oldest, delay);
  if (preferred_count > 0) {
    ready.count = preferred_count;
  } else if (full || due <= view.now) {
    ready.count = count;
  } else {
    ready.at = due;
  }
  return ready;
}

Dispatch SizeOrTimeoutPolicy::Next(const View& view, DeviceIndex device) {
  Dispatch decision;
  TimePoint ask_again = kNever;
  for (QueueIndex q = 0; q < view.heads.size(); ++q) {
    const QueueHead& head = view.heads[q];
    if (head.count == 0) continue;
    if (decision.queue != kNoIndex && !Before(head, view.heads[decision.queue])) continue;
    const std::uint32_t variant =
        MostAccurateStartable(view.generations[head.generation], head.variants, device);
    if (variant == kNoIndex) continue;
    const Ready ready = ReadyOf(view, view.queues[q]);
    if (ready.count == 0) {
      ask_again = std::min(ask_again, ready.at);
      continue;
    }
    decision.kind = Dispatch::Kind::kRun;
    decision.queue = q;
    decision.count = ready.count;
    decision.variant = variant;
  }
  decision.ask_again = ask_again;
  return decision;
}

}  // namespace duly
