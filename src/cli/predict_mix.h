// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/fault.h"
#include "queueing/device.h"

namespace duly {

// A device and the classes that share it, as `duly predict` reads them:
//
//   device: {kind: edgetpu, cache: 8MiB, link: 320MiB/s}   # or serial, timeslice, concurrent, cpu
//   classes:
//     - {name: a, rate: 3.2, service: 95.1ms, service_cv2: 0.0, memory: 43MiB, on_chip: 6.0MiB,
//        swap: 31ms}
//     - {name: b, rate: 9.0, service: 2.9ms}
//
// docs/queueing.md describes every key. Those of another kind are checked and then not used, so
// that one file can be tried with several kinds.
struct PredictMix {
  struct Class {
    std::string name;
    queueing::ServedClass load;
  };
  queueing::Device device;
  std::vector<Class> classes;
};

// Adds every fault that it finds.
PredictMix ReadPredictMix(const std::string& file, Faults& faults);

}  // namespace duly
