// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "queueing/fcfs.h"
#include "queueing/service_time.h"
#include "queueing/workload.h"

namespace duly::queueing {

// An accelerator that holds one model at a time (Edge TPU): first come first served, and a request
// behind one of another model pays for swapping its model in. The model stays loaded while idle.

inline constexpr int kNoSet = -1;
struct SwappedClass {
  double rate_per_s = 0;
  ServiceTime service;  // without a swap
  double swap_s = 0;    // o_i: what a swap adds
  // Classes of one set are resident together (compiled together) and never swap each other out.
  int resident_set = kNoSet;
};

// The formulas below share these symbols: Lambda the sum of the rates, p_i = lambda_i / Lambda,
//   alpha_i = 1 - (rate of i's resident set, else lambda_i) / Lambda    chance of a swap
//   s_i' = s_i + alpha_i o_i, rho = Sum lambda_i s_i'
//   W = Lambda E[S^2] / (2 (1 - rho)), R_i = s_i' + W
// and differ in E[S^2]:
//   published  Sum p_i s_i'^2: the mean is squared, so the variance of swapping is lost
//   exact      Sum p_i (alpha_i E[(s_i + o_i)^2] + (1 - alpha_i) E[s_i^2])
// Both take neighbouring services for independent. They are not: a swap follows from the class
// before. Against a simulation of that mechanism, two classes, the mean response of the exact form
// is up to 3 % too low at rho = 0.5, 6 % at 0.7 and 10 % at 0.9, the published one's 5, 9 and 14 %.
// Stable where rho < 1.
// Source: Liang et al., ACM TAAS 18(1), 2023, and its artifact; the second moment is Duly's own.
enum class SecondMomentForm : std::uint8_t { kPublished, kExact };
struct SwappedWait {
  double utilization = 0;
  double wait_s = 0;
  double rate_per_s = 0;  // Lambda
};
Result<SwappedWait> WaitWithSwaps(std::span<const SwappedClass> classes, SecondMomentForm form);
// s_i' of classes[i].
double EffectiveService(std::span<const SwappedClass> classes, std::size_t i);

// Default of o_i for a model of which only the size on the chip is known: 1.95 ms + 2.30 ms per MB,
// within 0.28 ms of seven published swaps of 3.75 to 6.74 MB (USB Edge TPU at a Raspberry Pi 4;
// other hosts differ, by 25 % and more).
double DefaultSwap(double on_chip_mb);

// Duly's own model of such a device: what a request takes depends on the class before it, for any
// pair of classes, and part of the answer's way does not occupy the device.
//   V     work found (workload.h, one phase per class: exact for this mechanism)
//   R_j   = V + S_ij + a_j, i the class before
// S_ij occupies the device; a_j is the host's share behind it (reading back, post-processing),
// during which the next request runs already. Poisson arrivals, at most 16 classes. Against
// simulation: exact. Against the Edge TPU's measurements: docs/queueing.md.
struct PairedServices {
  std::vector<double> rate_per_s;    // by class
  std::vector<ServiceTime> service;  // S_ij at [i * classes + j], i before j
  std::vector<double> after_s;       // a_j
};
// S_ii = s_i; S_ij = s_i + o_i with the variance of s_i, unless both are in one set; a_j = 0.
PairedServices ToPairs(std::span<const SwappedClass> classes);

class PairedQueue {
 public:
  static Result<PairedQueue> Create(PairedServices services);

  double utilization() const { return workload_.utilization(); }
  const Workload& workload() const { return workload_; }
  double MeanResponse(std::size_t kind) const;
  // For WaitDistribution::Quantile.
  std::vector<ResponsePart> Response(std::size_t kind) const;

 private:
  PairedQueue(PairedServices services, Workload workload)
      : services_(std::move(services)), workload_(std::move(workload)) {}

  PairedServices services_;
  Workload workload_;
};

// One request as a client saw it.
struct ServedRequest {
  std::size_t kind = 0;
  double arrived_s = 0;
  double done_s = 0;
};
// Services and the host's share from requests served by one such device, in the order of done_s.
// What a request took is done - max(arrived, done of the one before). Behind a class i this is
// shorter by a_i where the request came before the other was done than where it found the device
// idle:
//   a_i  = that difference, averaged over the classes behind with the inverse of its variance
//   S_ij = what it took, less a_j, plus a_i if it came before the other was done: mean and cv2
// Nothing is fitted to waits or responses. kFailedPrecondition when fewer than five requests of a
// class came behind some class. rate_per_s: requests by the time from first arrival to last end.
Result<PairedServices> Calibrate(std::span<const ServedRequest> requests, std::size_t classes);

}  // namespace duly::queueing
