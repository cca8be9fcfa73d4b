// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"

namespace duly {

// What the batches of a device do to each other.
enum class DeviceMechanism : std::uint8_t {
  kSerial,      // one batch at a time in each slot; slots do not slow each other down
  kTimeslice,   // its batches share one speed (a GPU without overlap)
  kConcurrent,  // batches overlap
  kEdgeTpu,     // one batch at a time, and one set of models on chip
  kCpu,         // cores; a batch takes some of them
};

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

// What a device that is not there does with its batches: the same for the simulator and for an
// emulated device of a live node. What a batch takes alone is its profile's.
struct DeviceBehaviour {
  DeviceMechanism mechanism = DeviceMechanism::kSerial;
  std::uint32_t slots = 1;    // batches at once; kTimeslice: 0 means as many as there are models
  std::vector<double> speed;  // kConcurrent: of 1, 2, ... batches together; the first is 1
  std::uint32_t cores = 1;    // kCpu
  std::uint32_t threads = 1;  // kCpu: of a batch
  std::map<std::string, Duration> swap;               // kEdgeTpu: by model, to bring it on chip
  std::vector<std::vector<std::string>> co_resident;  // kEdgeTpu: models compiled together
  NoiseSpec noise;
  std::uint32_t fail_every = 0;  // each run whose number it divides fails; 0: none
};

}  // namespace duly
