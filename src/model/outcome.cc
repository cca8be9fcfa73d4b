// SPDX-License-Identifier: Apache-2.0
#include "model/outcome.h"

namespace duly {

std::string_view ToString(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOnTime:
      return "on_time";
    case Outcome::kLate:
      return "late";
    case Outcome::kRejected:
      return "rejected";
    case Outcome::kExpired:
      return "expired";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kFailed:
      return "failed";
  }
  return "unknown";
}

std::string_view ToString(RejectReason reason) {
  switch (reason) {
    case RejectReason::kNone:
      return "none";
    case RejectReason::kQueueFull:
      return "queue_full";
    case RejectReason::kPredictedLate:
      return "predicted_late";
    case RejectReason::kYielded:
      return "yielded";
    case RejectReason::kShuttingDown:
      return "shutting_down";
    case RejectReason::kModelUnavailable:
      return "model_unavailable";
  }
  return "unknown";
}

std::string_view ToString(OnMiss on_miss) {
  switch (on_miss) {
    case OnMiss::kRefuse:
      return "refuse";
    case OnMiss::kServeLate:
      return "serve-late";
    case OnMiss::kDegrade:
      return "degrade";
  }
  return "unknown";
}

}  // namespace duly
