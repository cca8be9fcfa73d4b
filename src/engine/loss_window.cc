// SPDX-License-Identifier: Apache-2.0
#include "engine/loss_window.h"

#include <algorithm>

#include "base/check.h"

namespace duly {

LossWindow::LossWindow(const AccuracyBudget& budget)
    : limit_(std::uint64_t{LossOf(budget.mean_loss_pct, 0)} * budget.answers),
      last_(budget.answers, 0) {
  DULY_CHECK(budget.answers > 0);
}

void LossWindow::Charge(Loss loss) {
  DULY_CHECK(loss <= room());
  charged_ += loss;
}

void LossWindow::Return(Loss charged) {
  DULY_CHECK(charged <= charged_);
  charged_ -= charged;
}

void LossWindow::Answered(Loss charged, Loss lost) {
  DULY_CHECK(lost <= charged);
  Return(charged);
  lost_ += lost;
  lost_ -= last_[oldest_];
  last_[oldest_] = lost;
  oldest_ = (oldest_ + 1) % last_.size();
  count_ = std::min(count_ + 1, last_.size());
}

double LossWindow::mean_pct() const {
  return count_ == 0 ? 0 : static_cast<double>(lost_) / static_cast<double>(count_) * 1e-6;
}

}  // namespace duly
