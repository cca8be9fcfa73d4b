// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "base/random.h"

namespace duly {

// How service times vary from run to run on one device.
struct NoiseSpec {
  enum class Kind : std::uint8_t {
    kNone,
    kLognormal,    // with the coefficient of variation `cv` > 0
    kExponential,  // for queueing theory
  };
  Kind kind = Kind::kNone;
  double cv = 0;
};

// What chance and configured faults make of the runs of a device, in the order of their starts. The
// same seed and device name give the same sequence, live and simulated.
// Threading: one owner at a time.
class ServiceNoise {
 public:
  // fail_every: each run whose number it divides fails; 0: none.
  ServiceNoise(const NoiseSpec& spec, std::uint32_t fail_every, std::uint64_t seed,
               std::string_view device);

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
