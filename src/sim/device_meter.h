// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/time.h"

namespace duly::sim {

// Energy of a device, from what it did: idle power, plus utilisation times what being busy adds,
// which is less with fewer rows a batch.
class DeviceMeter {
 public:
  struct Power {
    double idle_w = 0;
    double busy_w = 0;
    double one_row_w = 0;  // less, with one row a batch; of b rows, 1/b of it
  };
  // Totals since the start.
  struct Reading {
    TimePoint at{};
    double full_work_s = 0;
    std::uint64_t batches = 0;
    std::uint64_t rows = 0;
  };

  explicit DeviceMeter(const Power& power) : power_(power) {}

  // Not before the last reading that it took.
  double EnergyJ(const Reading& now) const {
    const std::uint64_t rows = now.rows - last_.rows;
    const double batches_a_row =
        rows == 0 ? 0
                  : static_cast<double>(now.batches - last_.batches) / static_cast<double>(rows);
    const double busy_w = power_.busy_w - power_.one_row_w * batches_a_row;
    return energy_j_ + ToSeconds(now.at - last_.at) * power_.idle_w +
           (now.full_work_s - last_.full_work_s) * (busy_w - power_.idle_w);
  }
  void Take(const Reading& now) {
    energy_j_ = EnergyJ(now);
    last_ = now;
  }
  // From the last reading on.
  void SetPower(const Power& power) { power_ = power; }

 private:
  Power power_;
  Reading last_;
  double energy_j_ = 0;
};

}  // namespace duly::sim
