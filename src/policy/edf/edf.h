// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "policy/edf/outlook.h"
#include "policy/edf/shares.h"
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
};

// Earliest deadline first across models, with batches that grow only while every promise holds, and
// admission by running the same rule forward. See README.md.
class EdfPolicy final : public DispatchPolicy {
 public:
  explicit EdfPolicy(EdfOptions options) : options_(options) {}

  QueueOrdering ordering() const override { return QueueOrdering::kDue; }
  Duration best_effort_target() const override { return options_.best_effort; }
  Admission Admit(const View& view, const Request& candidate, GenerationIndex generation,
                  VariantMask allowed, Victims& victims) override;
  Dispatch Next(const View& view, DeviceIndex device) override;

 private:
  // What stands in the way of a candidate's promise: it comes too late itself, or another one
  // would for its sake.
  struct Obstacle {
    const Request* request = nullptr;
    Duration late{0};
  };
  struct Plan {
    VariantMask variants = 0;
    Outlook::Prediction prediction;
  };

  EdfMargins Margins() const;
  // Accepts without asking whether it can be on time: there is no promise.
  Admission AdmitUnpromised(const View& view, const Request& candidate, VariantMask allowed);
  // Whether the candidate would be on time with these variants, and nobody else late because of
  // it, once the victims are gone.
  bool Fits(const View& view, const Request& candidate, const Victims& victims, Plan& plan,
            Obstacle& obstacle);
  // Adds victims until the candidate fits.
  bool MakeRoom(const View& view, const Request& candidate, Victims& victims, Plan& plan,
                Obstacle obstacle);
  // When no more may wait: whose last request gives way to the candidate.
  const Request* LastOfTheGreediest(const View& view, const Request& candidate) const;
  bool CouldBeOnTimeAlone(const View& view, const Request& candidate, VariantMask allowed) const;

  const EdfOptions options_;
  Shares shares_;
  Outlook outlook_;
  std::vector<Outlook::Miss> misses_;
  std::vector<const Request*> yielding_;  // the victims of this arrival
};

}  // namespace duly
