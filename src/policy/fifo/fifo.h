// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policy/interface/dispatch_policy.h"

namespace duly {

// First in, first out over all models, one request at a time. Ignores promises. See README.md.
class FifoPolicy final : public DispatchPolicy {
 public:
  QueueOrdering ordering() const override { return QueueOrdering::kArrival; }
  Duration best_effort_target() const override { return Duration(0); }
  Admission Admit(const View& view, const Request& candidate, GenerationIndex generation,
                  VariantMask allowed, Victims& victims) override;
  Dispatch Next(const View& view, DeviceIndex device) override;
};

}  // namespace duly
