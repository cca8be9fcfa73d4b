// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_requests.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace duly {

void LoggedRequests::Add(const LogRecord& record, const Visit& visit) {
  if (record.kind != LogRecord::Kind::kEvent) return;
  if (record.event.kind == Event::Kind::kArrival) {
    LoggedRequest request;
    request.id = record.effects.arrived;
    request.arrived = record.time;
    request.arrival = record.event.arrival;
    request.application = request.arrival.application;
    if (request.application == kNoIndex) {
      request.application = config_.generations[request.arrival.generation].default_application;
    }
    live_.insert_or_assign(request.id.sequence, request);
  }
  for (const Finish& finish : record.effects.finishes) {
    const auto found = live_.find(finish.request.sequence);
    if (found == live_.end()) {
      ++without_arrival_;
      continue;
    }
    LoggedRequest request = std::move(found->second);
    live_.erase(found);
    request.ended = record.time;
    request.finish = finish;
    visit(request);
  }
}

void LoggedRequests::VisitUnfinished(const Visit& visit) const {
  std::vector<const LoggedRequest*> rest;
  for (const auto& [sequence, request] : live_) rest.push_back(&request);
  std::ranges::sort(rest, {}, [](const LoggedRequest* request) { return request->id.sequence; });
  for (const LoggedRequest* request : rest) visit(*request);
}

}  // namespace duly
