// SPDX-License-Identifier: Apache-2.0
#include "telemetry/replay.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/engine.h"
#include "telemetry/log_text.h"

namespace duly {
namespace {

constexpr const char* kNothing = "nothing further";

bool Same(const StartBatch& a, std::span<const RequestId> members_a, const StartBatch& b,
          std::span<const RequestId> members_b) {
  StartBatch moved = b;
  moved.first_member = a.first_member;
  return a == moved && std::ranges::equal(members_a, members_b);
}

// The first difference as (recorded, replayed), or nothing.
std::optional<std::pair<std::string, std::string>> Compare(const Effects& recorded,
                                                           const Effects& replayed,
                                                           const EngineConfig& config) {
  const auto finish = [&](const Effects& effects, std::size_t i) {
    return i < effects.finishes.size() ? Describe(effects.finishes[i], config) : kNothing;
  };
  const auto start = [&](const Effects& effects, std::size_t i) {
    return i < effects.starts.size()
               ? Describe(effects.starts[i], effects.MembersOf(effects.starts[i]), config)
               : kNothing;
  };
  if (recorded.arrived != replayed.arrived) {
    const auto name = [](const RequestId& id) {
      return fmt::format("the request is {}/{}", id.sequence, id.index);
    };
    return std::pair(name(recorded.arrived), name(replayed.arrived));
  }
  for (std::size_t i = 0; i < std::max(recorded.finishes.size(), replayed.finishes.size()); ++i) {
    if (i >= recorded.finishes.size() || i >= replayed.finishes.size() ||
        !(recorded.finishes[i] == replayed.finishes[i])) {
      return std::pair(finish(recorded, i), finish(replayed, i));
    }
  }
  for (std::size_t i = 0; i < std::max(recorded.starts.size(), replayed.starts.size()); ++i) {
    if (i >= recorded.starts.size() || i >= replayed.starts.size() ||
        !Same(recorded.starts[i], recorded.MembersOf(recorded.starts[i]), replayed.starts[i],
              replayed.MembersOf(replayed.starts[i]))) {
      return std::pair(start(recorded, i), start(replayed, i));
    }
  }
  return std::nullopt;
}

}  // namespace

std::string Impossible(const Event& event, TimePoint time, TimePoint start,
                       const EngineConfig& config) {
  constexpr Duration kLongest{std::int64_t{1} << 45};  // of a batch: ten hours
  if (time < start) return "a time before the engine's start";
  if (event.kind == Event::Kind::kArrival) {
    const Arrival& arrival = event.arrival;
    const std::uint32_t most = std::max(config.generations[arrival.generation].max_rows, 1U);
    if (arrival.rows == 0 || arrival.rows > most) return fmt::format("{} rows", arrival.rows);
  }
  if (event.kind == Event::Kind::kBatchDone) {
    for (const Duration d : {event.done.input, event.done.infer, event.done.output}) {
      if (d < -kLongest || d > kLongest) return fmt::format("a run of {} ns", d.count());
    }
  }
  return "";
}

Result<ReplayReport> Replay(EventLogReader& reader, const PolicyFactory& make_policy) {
  const EventLogHeader& header = reader.header();
  DULY_ASSIGN_OR_RETURN(std::unique_ptr<DispatchPolicy> policy,
                        make_policy(header.policy, header.policy_options));
  Engine engine(header.config, std::move(policy));
  ReplayReport report;
  Effects effects;
  std::set<std::uint32_t> running;  // batches
  for (;;) {
    DULY_ASSIGN_OR_RETURN(const LogRecord* record, reader.Next());
    if (record == nullptr) {
      report.cut = reader.cut();
      return report;
    }
    if (record->kind == LogRecord::Kind::kGap) {
      report.gap = *record;
      return report;
    }
    if (record->kind == LogRecord::Kind::kEnd) continue;

    const Event& event = record->event;
    ++report.events;
    const auto differ = [&](std::string recorded, std::string replayed) {
      report.difference =
          ReplayDifference{.number = record->number,
                           .since_start = record->time - header.start,
                           .place = reader.Place(),
                           .event = Describe(event, record->effects.arrived, reader.config()),
                           .recorded = std::move(recorded),
                           .replayed = std::move(replayed)};
      return report;
    };
    if (std::string what = Impossible(event, record->time, header.start, reader.config());
        !what.empty()) {
      return differ(std::move(what), "nothing of this kind");
    }
    if (event.kind == Event::Kind::kBatchDone && running.erase(event.done.batch) == 0) {
      return differ(fmt::format("batch {} has run", event.done.batch), "this batch does not run");
    }
    if (event.kind == Event::Kind::kUnload) {
      const ModelStats& model = engine.stats().models[event.generation];
      if (model.waiting + model.running > 0) {
        return differ("nothing of this model waits or runs", "something does");
      }
    }
    if (event.kind == Event::Kind::kTimer && engine.NextTimer() != kNever) {
      report.timer_lateness.push_back(record->time - engine.NextTimer());
    }
    effects.Clear();
    engine.Handle(record->time, event, effects);
    if (auto difference = Compare(record->effects, effects, reader.config())) {
      return differ(std::move(difference->first), std::move(difference->second));
    }
    report.decisions += effects.finishes.size() + effects.starts.size();
    for (const StartBatch& start : effects.starts) running.insert(start.batch);
  }
}

}  // namespace duly
