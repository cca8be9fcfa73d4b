// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace duly {

// How a request ended. Exactly one per request; an outcome, not an error.
enum class Outcome : std::uint8_t {
  kOnTime,     // answered within its promise, or had none
  kLate,       // answered after its promise
  kRejected,   // never started: refused at admission, or its promise became impossible while it
               // waited
  kExpired,    // never started: its patience ended in the queue
  kCancelled,  // the client went away before the answer
  kFailed,     // the back end failed
};
inline constexpr std::size_t kOutcomeCount = 6;
inline constexpr std::array<Outcome, kOutcomeCount> kAllOutcomes{
    Outcome::kOnTime,  Outcome::kLate,      Outcome::kRejected,
    Outcome::kExpired, Outcome::kCancelled, Outcome::kFailed};

constexpr bool IsAnswer(Outcome outcome) {
  return outcome == Outcome::kOnTime || outcome == Outcome::kLate;
}

// Why a request was rejected.
enum class RejectReason : std::uint8_t {
  kNone,
  kQueueFull,         // the queue's bound in requests was reached
  kPredictedLate,     // by prediction its promise could not be kept
  kYielded,           // gave way to an application below its share of the node
  kShuttingDown,      // the node drains
  kModelUnavailable,  // the generation is gone or has no device
};

// Lower-case words used in metrics, JSON and the event log: "on_time", "predicted_late".
std::string_view ToString(Outcome outcome);
std::string_view ToString(RejectReason reason);

// What to do with a request whose promise (SLO) cannot be kept, by prediction.
enum class OnMiss : std::uint8_t {
  kRefuse,     // answer at once that it will not be served
  kServeLate,  // serve it after those that can still be on time
  kDegrade,    // serve it with a faster variant within its accuracy floor; if none helps, refuse
};
std::string_view ToString(OnMiss on_miss);

}  // namespace duly
