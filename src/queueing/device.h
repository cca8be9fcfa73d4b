// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "queueing/edge_tpu.h"
#include "queueing/service_time.h"

namespace duly::queueing {

// Latency of every class of a mix on one device: the model of this folder that fits how the device
// works, in one call.
enum class Mechanism : std::uint8_t {
  kSerial,    // one request at a time, first come first served: FcfsSingleServer, FcfsWorkload
  kSwapping,  // the same, with model swaps and the host's share: PairedQueue
  kSliced,    // one queue per class, time slices between them: SlicedQueues, SlicedResponse
  kShared,    // all at once, at a speed that depends on how many: SharedServer, SharedResponse
  kServers,   // several at a time from one queue: FcfsServers of the mixed service
};

struct Device {
  Mechanism mechanism = Mechanism::kSerial;
  std::vector<double> speedup = {1};  // kShared
  int servers = 1;                    // kServers
};

struct ServedClass {
  double rate_per_s = 0;
  ServiceTime service;  // alone, without waiting and without a swap
  // kSwapping, as in SwappedClass and PairedServices: the service includes after_s.
  double swap_s = 0;
  int resident_set = kNoSet;
  double after_s = 0;
  double weight = 1;  // kSliced
};

// One class with the rate, and the first two moments of the service, of all.
ClassLoad MixedLoad(std::span<const ServedClass> classes);

struct ClassPrediction {
  double mean_s = 0;
  std::vector<double> quantiles_s;  // as asked for
};
struct Prediction {
  double utilization = 0;
  bool stable = false;                   // utilization < 1
  std::vector<ClassPrediction> classes;  // empty unless stable
};

// Ascending or not, 0 < probabilities <= 0.9999. kInvalidArgument names what is meaningless; an
// unstable mix is an answer. Errors are those of the models. Where the exact model ends a coarser
// one answers: more than Workload::kMaxPhases swapping classes, or a service among more than 10000
// arrivals, are M/G/1 with the exact second moment; so close to saturation that the grid would not
// end, the wait is exponential, which it is in that limit.
Result<Prediction> Predict(const Device& device, std::span<const ServedClass> classes,
                           std::span<const double> probabilities);

}  // namespace duly::queueing
