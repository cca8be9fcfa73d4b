// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_text.h"

#include <fmt/format.h>

#include <cstdint>

#include "model/outcome.h"

namespace duly {
namespace {

std::string Count(std::uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string Name(const RequestId& id) {
  return fmt::format("request {}/{}", id.sequence, id.index);
}

std::string Describe(const Arrival& arrival, const RequestId& arrived, const EngineConfig& config) {
  const Generation& generation = config.generations[arrival.generation];
  const ApplicationIndex application =
      arrival.application == kNoIndex ? generation.default_application : arrival.application;
  std::string text = fmt::format("arrival of {} from '{}' for '{}' version {}, {}", Name(arrived),
                                 config.applications[application].name, generation.model,
                                 generation.version, Count(arrival.rows, "row", "rows"));
  text += fmt::format(", shape {:016x}", arrival.shape);
  if (arrival.variants != 0) text += fmt::format(", variants {:#x}", arrival.variants);
  if (arrival.slo >= Duration(0)) text += ", slo " + ExactMillis(arrival.slo);
  if (arrival.timeout >= Duration(0)) text += ", timeout " + ExactMillis(arrival.timeout);
  if (arrival.call_timeout >= Duration(0)) {
    text += ", call timeout " + ExactMillis(arrival.call_timeout);
  }
  if (arrival.priority != 0) text += fmt::format(", priority {}", arrival.priority);
  if (arrival.min_accuracy_pct >= 0) text += fmt::format(", floor {}%", arrival.min_accuracy_pct);
  return text;
}

}  // namespace

std::string ExactMillis(Duration d) {
  const std::int64_t ns = d.count();
  // Unsigned, because the least number has no positive counterpart.
  const std::uint64_t magnitude =
      ns < 0 ? 0 - static_cast<std::uint64_t>(ns) : static_cast<std::uint64_t>(ns);
  return fmt::format("{}{}.{:06}ms", ns < 0 ? "-" : "", magnitude / 1000000, magnitude % 1000000);
}

std::string Describe(const Event& event, const RequestId& arrived, const EngineConfig& config) {
  switch (event.kind) {
    case Event::Kind::kArrival:
      return Describe(event.arrival, arrived, config);
    case Event::Kind::kBatchDone:
      return fmt::format("batch {} {}: input {}, inference {}, output {}",
                         static_cast<std::int32_t>(event.done.batch),
                         event.done.failed ? "failed" : "done", ExactMillis(event.done.input),
                         ExactMillis(event.done.infer), ExactMillis(event.done.output));
    case Event::Kind::kTimer:
      return "timer";
    case Event::Kind::kCancel:
      return "cancellation of " + Name(event.request);
    case Event::Kind::kDrain:
      return "drain";
    case Event::Kind::kLoad:
      return fmt::format("'{}' version {} is loaded as model {}", event.load->generation.model,
                         event.load->generation.version, event.load->index);
    case Event::Kind::kUnload:
      return fmt::format("'{}' version {} is unloaded, model {}",
                         config.generations[event.generation].model,
                         config.generations[event.generation].version, event.generation);
  }
  return "unknown event";
}

std::string Describe(const Finish& finish, const EngineConfig& config) {
  std::string text =
      fmt::format("{} of '{}' ends {}", Name(finish.request),
                  config.applications[finish.application].name, ToString(finish.outcome));
  if (finish.reason != RejectReason::kNone) text += fmt::format(" ({})", ToString(finish.reason));
  text += ": waited " + ExactMillis(finish.waiting);
  if (finish.device != kNoIndex) {
    text += fmt::format(", ran {} on '{}' as number {} of batch {} ({}, variant {})",
                        ExactMillis(finish.service), config.devices[finish.device].name,
                        finish.batch_position, finish.batch,
                        Count(finish.batch_rows, "row", "rows"), finish.variant);
  } else {
    text += fmt::format(", variant {}", finish.variant);
  }
  if (finish.predicted != Duration(0)) text += ", predicted " + ExactMillis(finish.predicted);
  if (finish.retry_after != Duration(0)) text += ", retry after " + ExactMillis(finish.retry_after);
  return text;
}

std::string Describe(const StartBatch& start, std::span<const RequestId> members,
                     const EngineConfig& config) {
  const Generation& generation = config.generations[start.generation];
  std::string names;
  for (const RequestId& id : members) {
    names += fmt::format("{}{}/{}", names.empty() ? "" : ", ", id.sequence, id.index);
  }
  return fmt::format(
      "batch {} starts on '{}' slot {}: '{}' version {} variant '{}', {}, requests "
      "{}, predicted {}",
      start.batch, config.devices[start.device].name, start.slot, generation.model,
      generation.version, generation.variants[start.variant].name, Count(start.rows, "row", "rows"),
      names, ExactMillis(start.predicted));
}

}  // namespace duly
