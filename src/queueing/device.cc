// SPDX-License-Identifier: Apache-2.0
#include "queueing/device.h"

#include <algorithm>
#include <utility>

#include "queueing/fcfs.h"
#include "queueing/shared_response.h"
#include "queueing/sharing.h"
#include "queueing/sliced_response.h"
#include "queueing/workload.h"

namespace duly::queueing {
namespace {

std::vector<ClassLoad> Loads(std::span<const ServedClass> classes) {
  std::vector<ClassLoad> loads;
  for (const ServedClass& c : classes) loads.push_back({c.rate_per_s, c.service});
  return loads;
}

// What occupies the device, without the host's share.
std::vector<SwappedClass> Swapped(std::span<const ServedClass> classes) {
  std::vector<SwappedClass> swapped;
  for (const ServedClass& c : classes) {
    const double occupied = c.service.mean_s - c.after_s;
    const double stretch = c.service.mean_s / occupied;
    swapped.push_back(
        {c.rate_per_s, {occupied, c.service.cv2 * stretch * stretch}, c.swap_s, c.resident_set});
  }
  return swapped;
}

Status CheckAll(const Device& device, std::span<const ServedClass> classes,
                std::span<const double> probabilities) {
  for (const double q : probabilities) {
    if (!(q > 0 && q <= 0.9999)) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("quantile {}: expected above 0, at most 0.9999", q));
    }
  }
  double rate = 0;
  for (const ServedClass& c : classes) {
    if (Status s = Check(ClassLoad{c.rate_per_s, c.service}); !s.ok()) return s;
    if (Status s = CheckNotNegative("the time of a swap", c.swap_s); !s.ok()) return s;
    if (Status s = CheckNotNegative("the host's time", c.after_s); !s.ok()) return s;
    if (Status s = CheckPositive("a weight", c.weight); !s.ok()) return s;
    if (c.after_s >= c.service.mean_s) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("the host's time is {} s: expected less than the service of {} s",
                                c.after_s, c.service.mean_s));
    }
    rate += c.rate_per_s;
  }
  if (device.speedup.empty()) {
    return Status(StatusCode::kInvalidArgument, "no speedup: expected r(1) = 1 at least");
  }
  for (const double r : device.speedup) {
    if (Status s = CheckPositive("a speedup", r); !s.ok()) return s;
  }
  if (device.servers < 1) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("{} servers: expected 1 or more", device.servers));
  }
  return CheckPositive("the sum of the rates", rate);
}

double Utilization(const Device& device, std::span<const ServedClass> classes) {
  double load = 0;
  if (device.mechanism == Mechanism::kSwapping) {
    const std::vector<SwappedClass> swapped = Swapped(classes);
    for (std::size_t i = 0; i < swapped.size(); ++i) {
      load += swapped[i].rate_per_s * EffectiveService(swapped, i);
    }
    return load;
  }
  for (const ServedClass& c : classes) load += c.rate_per_s * c.service.mean_s;
  if (device.mechanism == Mechanism::kShared) return load / device.speedup.back();
  if (device.mechanism == Mechanism::kServers) return load / device.servers;
  return load;
}

using Predictions = std::vector<ClassPrediction>;

// The exact distribution, or nothing where it needs too long a grid.
template <typename Parts>
Result<bool> AddExactQuantiles(const Workload& workload, std::span<const double> probabilities,
                               const Parts& parts, Predictions& predictions) {
  if (probabilities.empty()) return true;
  const double most = *std::max_element(probabilities.begin(), probabilities.end());
  const Result<WaitDistribution> wait = WaitDistribution::Create(workload, most);
  if (!wait && wait.error().code() == StatusCode::kResourceExhausted) return false;
  if (!wait) return Error(wait.error());
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    const std::vector<ResponsePart> response = parts(i);
    for (const double q : probabilities) {
      DULY_ASSIGN_OR_RETURN(const double quantile, wait->Quantile(response, q));
      predictions[i].quantiles_s.push_back(quantile);
    }
  }
  return true;
}

Result<Predictions> Serial(std::span<const ServedClass> classes,
                           std::span<const double> probabilities) {
  const std::vector<ClassLoad> loads = Loads(classes);
  DULY_ASSIGN_OR_RETURN(const Workload workload, FcfsWorkload(loads));
  Predictions predictions;
  for (const ClassLoad& load : loads) {
    predictions.push_back({workload.mean_s() + load.service.mean_s, {}});
  }
  const auto parts = [&](std::size_t i) {
    return std::vector<ResponsePart>{{.service = loads[i].service}};
  };
  DULY_ASSIGN_OR_RETURN(const bool exact,
                        AddExactQuantiles(workload, probabilities, parts, predictions));
  if (exact) return predictions;
  const double busy = workload.utilization();
  for (std::size_t i = 0; i < loads.size(); ++i) {
    for (const double q : probabilities) {
      predictions[i].quantiles_s.push_back(
          ResponseQuantile({busy, workload.mean_s() / busy}, loads[i].service, q));
    }
  }
  return predictions;
}

Result<Predictions> Swapping(std::span<const ServedClass> classes,
                             std::span<const double> probabilities) {
  const std::vector<SwappedClass> swapped = Swapped(classes);
  Predictions predictions;
  double busy = 0;
  double wait_s = 0;
  if (classes.size() <= static_cast<std::size_t>(Workload::kMaxPhases)) {
    PairedServices pairs = ToPairs(swapped);
    for (std::size_t i = 0; i < classes.size(); ++i) pairs.after_s[i] = classes[i].after_s;
    const Result<PairedQueue> queue = PairedQueue::Create(std::move(pairs));
    if (!queue && queue.error().code() != StatusCode::kResourceExhausted) {
      return Error(queue.error());
    }
    if (queue) {
      for (std::size_t i = 0; i < classes.size(); ++i) {
        predictions.push_back({queue->MeanResponse(i), {}});
      }
      const auto parts = [&](std::size_t i) { return queue->Response(i); };
      DULY_ASSIGN_OR_RETURN(const bool exact, AddExactQuantiles(queue->workload(), probabilities,
                                                                parts, predictions));
      if (exact) return predictions;
      busy = queue->utilization();
      wait_s = queue->workload().mean_s();
    }
  }
  if (predictions.empty()) {
    DULY_ASSIGN_OR_RETURN(const SwappedWait wait, WaitWithSwaps(swapped, SecondMomentForm::kExact));
    busy = wait.utilization;
    wait_s = wait.wait_s;
    for (std::size_t i = 0; i < classes.size(); ++i) {
      predictions.push_back({wait_s + EffectiveService(swapped, i) + classes[i].after_s, {}});
    }
  }
  for (ClassPrediction& prediction : predictions) {
    for (const double q : probabilities) {
      prediction.quantiles_s.push_back(prediction.mean_s - wait_s +
                                       WaitQuantile({busy, wait_s / busy}, q));
    }
  }
  return predictions;
}

Result<Predictions> Sliced(std::span<const ServedClass> classes,
                           std::span<const double> probabilities) {
  if (classes.size() == 1) return Serial(classes, probabilities);
  std::vector<double> weights;
  for (const ServedClass& c : classes) weights.push_back(c.weight);
  const std::vector<ClassLoad> loads = Loads(classes);
  DULY_ASSIGN_OR_RETURN(const std::vector<SlicedQueue> queues, SlicedQueues(loads, weights));
  Predictions predictions;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    predictions.push_back({queues[i].mean_s, {}});
    if (probabilities.empty()) continue;
    const SlicedResponse response(loads, weights, queues, i);
    for (const double q : probabilities) {
      predictions[i].quantiles_s.push_back(response.Quantile(q));
    }
  }
  return predictions;
}

Result<Predictions> Shared(const Device& device, std::span<const ServedClass> classes,
                           std::span<const double> probabilities) {
  const std::vector<ClassLoad> loads = Loads(classes);
  DULY_ASSIGN_OR_RETURN(const Sharing sharing, SharedServer(loads, device.speedup));
  Predictions predictions;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    predictions.push_back({sharing.stretch * loads[i].service.mean_s, {}});
    if (probabilities.empty()) continue;
    const double most = *std::max_element(probabilities.begin(), probabilities.end());
    const SharedResponse response(loads, device.speedup, sharing, i, most);
    for (const double q : probabilities) {
      predictions[i].quantiles_s.push_back(response.Quantile(q));
    }
  }
  return predictions;
}

Result<Predictions> Servers(const Device& device, std::span<const ServedClass> classes,
                            std::span<const double> probabilities) {
  DULY_ASSIGN_OR_RETURN(const MultiServerWait wait,
                        FcfsServers(MixedLoad(classes), device.servers));
  Predictions predictions;
  for (const ServedClass& c : classes) {
    predictions.push_back({wait.mean_s + c.service.mean_s, {}});
    for (const double q : probabilities) {
      predictions.back().quantiles_s.push_back(ResponseQuantile(wait.distribution, c.service, q));
    }
  }
  return predictions;
}

Result<Predictions> Responses(const Device& device, std::span<const ServedClass> classes,
                              std::span<const double> probabilities) {
  switch (device.mechanism) {
    case Mechanism::kSerial:
      break;
    case Mechanism::kSwapping:
      return Swapping(classes, probabilities);
    case Mechanism::kSliced:
      return Sliced(classes, probabilities);
    case Mechanism::kShared:
      return Shared(device, classes, probabilities);
    case Mechanism::kServers:
      return Servers(device, classes, probabilities);
  }
  return Serial(classes, probabilities);
}

}  // namespace

ClassLoad MixedLoad(std::span<const ServedClass> classes) {
  double rate = 0;
  double first = 0;
  double second = 0;
  for (const ServedClass& c : classes) {
    rate += c.rate_per_s;
    first += c.rate_per_s * c.service.mean_s;
    second += c.rate_per_s * SecondMoment(c.service);
  }
  const double mean = first / rate;
  return {rate, {mean, std::max(0.0, second / rate / (mean * mean) - 1)}};
}

Result<Prediction> Predict(const Device& device, std::span<const ServedClass> classes,
                           std::span<const double> probabilities) {
  DULY_RETURN_IF_ERROR(CheckAll(device, classes, probabilities));
  Prediction prediction;
  prediction.utilization = Utilization(device, classes);
  prediction.stable = prediction.utilization < 1;
  if (!prediction.stable) return prediction;
  DULY_ASSIGN_OR_RETURN(prediction.classes, Responses(device, classes, probabilities));
  return prediction;
}

}  // namespace duly::queueing
