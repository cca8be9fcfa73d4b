// SPDX-License-Identifier: Apache-2.0
#include "policy/fifo/fifo.h"

#include "policy/common/heads.h"

namespace duly {

Admission FifoPolicy::Admit(const View&, const Request& candidate, GenerationIndex,
                            VariantMask allowed, Victims&) {
  Admission admission;
  admission.variants = allowed;
  admission.variant = candidate.variant;
  return admission;
}

Dispatch FifoPolicy::Next(const View& view, DeviceIndex device) {
  Dispatch decision;
  for (QueueIndex q = 0; q < view.heads.size(); ++q) {
    const QueueHead& head = view.heads[q];
    if (head.count == 0) continue;
    if (decision.queue != kNoIndex && !Before(head, view.heads[decision.queue])) continue;
    const std::uint32_t variant =
        MostAccurateStartable(view.generations[head.generation], head.variants, device);
    if (variant == kNoIndex) continue;
    decision.kind = Dispatch::Kind::kRun;
    decision.queue = q;
    decision.count = 1;
    decision.variant = variant;
  }
  return decision;
}

}  // namespace duly
