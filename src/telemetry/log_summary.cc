// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_summary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "engine/stats.h"
#include "telemetry/log_requests.h"

namespace duly {
namespace {

struct RunningBatch {
  TimePoint started{};
  DeviceIndex device = 0;
};

void Count(const LoggedRequest& request, const EngineConfig& config, ApplicationSummary& summary) {
  const Generation& generation = config.generations[request.arrival.generation];
  ++summary.offered;
  if (summary.model.empty()) summary.model = generation.model;
  if (summary.model != generation.model) summary.model = "several";
  if (!request.finish) {
    ++summary.unanswered;
    return;
  }
  const Finish& finish = *request.finish;
  ++summary.outcomes.at(static_cast<std::size_t>(finish.outcome));
  if (finish.outcome != Outcome::kOnTime && finish.outcome != Outcome::kLate) return;
  summary.response.Add(request.ended - request.arrived);
  if (finish.variant < generation.variants.size() &&
      generation.variants[finish.variant].accuracy_pct > 0) {
    summary.accuracy_sum_pct += generation.variants[finish.variant].accuracy_pct;
    ++summary.accuracy_count;
  }
  if (finish.outcome == Outcome::kOnTime) {
    summary.on_time_device_time += ShareOf(finish.service, request.arrival.rows, finish.batch_rows);
  }
}

}  // namespace

void Latencies::Sort() { std::ranges::sort(sorted_); }

Duration Latencies::Mean() const {
  if (sorted_.empty()) return Duration(0);
  double sum = 0;
  for (const Duration response : sorted_) sum += static_cast<double>(response.count());
  return Duration(std::llround(sum / static_cast<double>(sorted_.size())));
}

Duration Latencies::Percentile(double p) const {
  if (sorted_.empty()) return Duration(0);
  const auto rank = static_cast<std::size_t>(std::ceil(p * static_cast<double>(sorted_.size())));
  return sorted_[std::clamp(rank, std::size_t{1}, sorted_.size()) - 1];
}

Result<LogSummary> Summarize(EventLogReader& reader) {
  const EngineConfig& config = reader.config();
  LogSummary summary;
  std::vector<ApplicationSummary> applications;
  for (const EngineDevice& device : config.devices) {
    summary.devices.push_back({.name = device.name, .slots = device.slots});
  }
  summary.total.name = "total";

  const auto count = [&](const LoggedRequest& request) {
    while (applications.size() < config.applications.size()) {
      const Application& next = config.applications[applications.size()];
      ApplicationSummary& summary_of_next = applications.emplace_back();
      summary_of_next.name = next.name;
      summary_of_next.slo = next.slo;
    }
    Count(request, config, applications[request.application]);
    Count(request, config, summary.total);
  };
  LoggedRequests requests(config);
  std::map<std::uint32_t, RunningBatch> running;
  const auto end_batch = [&](std::map<std::uint32_t, RunningBatch>::iterator batch, TimePoint end) {
    summary.devices[batch->second.device].busy += end - batch->second.started;
    running.erase(batch);
  };
  std::optional<TimePoint> first;
  TimePoint last{};
  for (;;) {
    DULY_ASSIGN_OR_RETURN(const LogRecord* record, reader.Next());
    if (record == nullptr) break;
    if (record->kind == LogRecord::Kind::kGap) {
      summary.lost += record->lost;
      // What ended meanwhile is not known.
      running.clear();
    }
    if (record->kind != LogRecord::Kind::kEvent) continue;
    ++summary.events;
    if (!first) first = record->time;
    last = record->time;
    requests.Add(*record, count);
    if (record->event.kind == Event::Kind::kBatchDone) {
      const auto batch = running.find(record->event.done.batch);
      if (batch != running.end()) end_batch(batch, record->time);
    }
    for (const StartBatch& start : record->effects.starts) {
      running.insert_or_assign(start.batch, RunningBatch{record->time, start.device});
      ++summary.devices[start.device].batches;
      summary.devices[start.device].rows += start.rows;
    }
  }
  requests.VisitUnfinished(count);
  while (!running.empty()) end_batch(running.begin(), last);
  summary.duration = first ? last - *first : Duration(0);
  summary.without_arrival = requests.without_arrival();
  summary.cut = reader.cut();
  for (ApplicationSummary& application : applications) {
    if (application.offered == 0) continue;
    application.response.Sort();
    summary.applications.push_back(std::move(application));
  }
  summary.total.response.Sort();
  return summary;
}

}  // namespace duly
