// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>

#include "policy/interface/dispatch_policy.h"

namespace duly {

struct EdfOptions {
  // Orders requests without promise and patience: as though they were due so long after arrival.
  Duration best_effort = std::chrono::seconds(1);
  // Kept free at the end of each promise for the way of the answer to the client; at most a tenth
  // of it.
  Duration reserve = std::chrono::milliseconds(1);
  // How long a batch may wait for more rows while its deadlines allow. 0: work conserving.
  Duration max_fill_wait{0};
  // An application below this fraction of its share makes others give way to it.
  double entitlement = 0.9;
};

// Earliest deadline first across models, with batches that grow only while every deadline in them
// holds, and admission by prediction. See README.md.
class EdfPolicy final : public DispatchPolicy {
 public:
  explicit EdfPolicy(EdfOptions options) : options_(options) {}

  QueueOrdering ordering() const override { return QueueOrdering::kDue; }
  Duration best_effort_target() const override { return options_.best_effort; }
  Admission Admit(const View& view, const Request& candidate, GenerationIndex generation,
                  VariantMask allowed, Victims& victims) override;
  Dispatch Next(const View& view, DeviceIndex device) override;

 private:
  struct Plan {
    bool feasible = false;
    DeviceIndex device = kNoIndex;
    std::uint32_t variant = 0;
    Duration work{0};
    Duration response{0};
  };
  // Where and when the candidate would be done with this variant, and whether all promises hold
  // then.
  Plan Predict(const View& view, const Request& candidate, std::uint32_t variant,
               const Generation& generation) const;
  // Whether the candidate fits on the device if others give way; names them.
  bool MakeRoom(const View& view, const Request& candidate, const Plan& plan,
                Victims& victims) const;

  // The instant by which the engine must be done so that the promise is kept at the client.
  TimePoint Due(const Request& request) const;

  // Shares of on-time device time among the applications that sent lately.
  struct Shares {
    double weight = 0;
    double on_time = 0;
  };
  Shares SharesOf(const View& view) const;
  bool BelowShare(const View& view, const Shares& shares, ApplicationIndex index) const;
  bool AboveShare(const View& view, const Shares& shares, ApplicationIndex index) const;

  // The head's variant on the device, and the batch that grows from it.
  std::uint32_t ChooseVariant(const View& view, const Queue& queue, const Request& head,
                              DeviceIndex device) const;
  bool AnotherDeviceCan(const View& view, const Queue& queue, const Request& head,
                        DeviceIndex device) const;

  EdfOptions options_;
};

}  // namespace duly
