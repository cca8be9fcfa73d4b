// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/model_spec.h"

namespace duly {

// Millionths of a percentage point of accuracy: whole, so that sums are the same everywhere.
using Loss = std::uint32_t;

constexpr Loss LossOf(double preferred_pct, double served_pct) {
  return served_pct < preferred_pct ? static_cast<Loss>((preferred_pct - served_pct) * 1e6 + 0.5)
                                    : 0;
}

// Keeps an accuracy budget: over any AccuracyBudget::answers consecutive answers the sum of losses
// is at most so many times the mean that is allowed.
//
// Who is admitted is charged with the worst that it may get, and settles when it has ended. What
// the last answers lost and all charges together never exceed the limit; an answer moves its loss
// from one to the other, and the oldest that leaves only makes room. So no order of ends breaks it.
class LossWindow {
 public:
  explicit LossWindow(const AccuracyBudget& budget);

  // What one more request may lose.
  std::uint64_t room() const { return limit_ - lost_ - charged_; }
  // loss <= room().
  void Charge(Loss loss);
  // Of a charge: nothing was answered.
  void Return(Loss charged);
  // lost <= charged.
  void Answered(Loss charged, Loss lost);

  // Of the last answers, in percentage points; 0 before the first.
  double mean_pct() const;

 private:
  const std::uint64_t limit_;
  std::vector<Loss> last_;  // a ring
  std::size_t oldest_ = 0;
  std::size_t count_ = 0;
  std::uint64_t lost_ = 0;  // sum of last_
  std::uint64_t charged_ = 0;
};

}  // namespace duly
