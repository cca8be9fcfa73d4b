// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>

#include "engine/event.h"
#include "telemetry/log_reader.h"

namespace duly {

// One request of a log, from its arrival to its end.
struct LoggedRequest {
  RequestId id;
  TimePoint arrived{};
  Arrival arrival;
  ApplicationIndex application = 0;
  TimePoint ended{};             // when `finish` is there
  std::optional<Finish> finish;  // none: the log ends before the request does
};

// Joins the arrivals of a log with their ends. Memory: the requests that live at once.
class LoggedRequests {
 public:
  using Visit = std::function<void(const LoggedRequest&)>;

  explicit LoggedRequests(const EngineConfig& config) : config_(config) {}

  // Calls visit for each request that ends with this record.
  void Add(const LogRecord& record, const Visit& visit);
  // After the last record: calls visit for the requests without an end, in the order of arrival.
  void VisitUnfinished(const Visit& visit) const;

  // Ends of requests whose arrival is missing, because it was in a gap.
  std::uint64_t without_arrival() const { return without_arrival_; }

 private:
  const EngineConfig& config_;
  std::unordered_map<std::uint64_t, LoggedRequest> live_;  // by sequence
  std::uint64_t without_arrival_ = 0;
};

}  // namespace duly
