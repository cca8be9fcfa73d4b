// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/outcome.h"
#include "telemetry/log_reader.h"

namespace duly {

// Latencies of which exact percentiles are asked, once they are sorted.
class Latencies {
 public:
  void Add(Duration latency) { sorted_.push_back(latency); }
  void Sort();
  std::size_t count() const { return sorted_.size(); }
  Duration Mean() const;
  // Nearest rank: the least latency that a fraction `p` in (0, 1] does not exceed. 0 when
  // there is none.
  Duration Percentile(double p) const;

 private:
  std::vector<Duration> sorted_;
};

struct ApplicationSummary {
  std::string name;
  std::string model;  // of its requests; "several" when they name several, empty without requests
  std::optional<Duration> slo;
  std::uint64_t offered = 0;
  std::array<std::uint64_t, kOutcomeCount> outcomes{};
  std::uint64_t unanswered = 0;  // the log ends before they do
  Duration on_time_device_time{0};
  double accuracy_sum_pct = 0;
  std::uint64_t accuracy_count = 0;  // answers by variants whose accuracy is known
  Latencies response;                // of answered requests: on time and late
};

struct DeviceSummary {
  std::string name;
  std::uint32_t slots = 1;
  Duration busy{0};  // all slots together
  std::uint64_t batches = 0;
  std::uint64_t rows = 0;
};

struct LogSummary {
  Duration duration{0};  // first event to last
  std::uint64_t events = 0;
  std::uint64_t lost = 0;             // events in gaps
  std::uint64_t without_arrival = 0;  // ended requests that are not counted: they arrived in a gap
  std::optional<LogCut> cut;
  std::vector<ApplicationSummary> applications;  // those that sent, in the header's order
  ApplicationSummary total;
  std::vector<DeviceSummary> devices;
};

// Reads the log, at its beginning, to its end.
Result<LogSummary> Summarize(EventLogReader& reader);

}  // namespace duly
