// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "base/random.h"
#include "model/device_behaviour.h"

namespace duly {

// What chance and configured faults make of the runs of a device, in the order of their starts. The
// same seed and device name give the same sequence, live and simulated.
// Threading: one owner at a time.
class ServiceNoise {
 public:
  ServiceNoise(const DeviceBehaviour& behaviour, std::uint64_t seed, std::string_view device);

  struct Run {
    std::uint64_t number = 0;  // from 1
    double factor = 1;         // of the mean service time; its own mean is 1
    bool fails = false;
  };
  Run Next();

 private:
  NoiseSpec spec_;
  std::uint32_t fail_every_;
  std::uint64_t runs_ = 0;
  RandomStream stream_;
};

}  // namespace duly
