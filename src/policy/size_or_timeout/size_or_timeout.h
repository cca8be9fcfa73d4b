// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policy/interface/dispatch_policy.h"

namespace duly {

struct SizeOrTimeoutOptions {
  // For models whose configuration says nothing of dynamic batching. < 0: such models do not batch,
  // as in Triton. Otherwise they batch with this delay.
  Duration max_queue_delay{-1};
  // Part of its promise after which a waiting request is given up, as a queue timeout would do it
  // if somebody set one for each application. 0: never.
  double give_up_after = 0;
};

// The usual dynamic batching: a queue is ready when it holds a preferred (or the largest) batch, or
// when its first request has waited for the delay. See README.md.
class SizeOrTimeoutPolicy final : public DispatchPolicy {
 public:
  explicit SizeOrTimeoutPolicy(SizeOrTimeoutOptions options) : options_(options) {}

  QueueOrdering ordering() const override { return QueueOrdering::kArrival; }
  Duration best_effort_target() const override { return Duration(0); }
  Admission Admit(const View& view, const Request& candidate, GenerationIndex generation,
                  VariantMask allowed, Victims& victims) override;
  Dispatch Next(const View& view, DeviceIndex device) override;

 private:
  struct Ready {
    std::uint32_t count = 0;  // requests to take; 0: not ready
    TimePoint at = kNever;    // when the delay makes it ready
  };
  Ready ReadyOf(const View& view, const Queue& queue) const;

  SizeOrTimeoutOptions options_;
};

}  // namespace duly
