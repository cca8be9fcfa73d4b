// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_test_util.h"

#include <algorithm>
#include <queue>
#include <sstream>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "policy/registry.h"
#include "telemetry/record_encoder.h"

namespace duly {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

Placement PlacedOn(DeviceIndex device, Duration mean, std::uint32_t instances) {
  std::vector<ProfilePoint> points(3);
  for (std::uint32_t i = 0; i < points.size(); ++i) {
    points[i].rows = 1U << (2 * i);
    points[i].mean = mean * (1 + i);
  }
  Placement placement;
  placement.device = device;
  placement.instances = instances;
  placement.service = ServicePrediction(LatencyCurve::Create(points).value());
  return placement;
}

struct Pending {
  TimePoint time;
  std::uint64_t order = 0;
  Event event;
};
struct Later {
  bool operator()(const Pending& a, const Pending& b) const {
    return a.time != b.time ? a.time > b.time : a.order > b.order;
  }
};

// A random run: the pending events of a driver in virtual time.
class Script {
 public:
  Script(const EventLogHeader& header, const ScriptOptions& options, EventObserver& observer)
      : engine_(header.config, RegistryFactory()(header.policy, header.policy_options).value()),
        options_(options),
        observer_(observer),
        random_(options.seed, "script"),
        now_(header.start) {
    load_.index = static_cast<GenerationIndex>(header.config.generations.size());
    load_.generation = header.config.generations.front();
    load_.generation.model = "latecomer";
    load_.generation.default_application =
        static_cast<ApplicationIndex>(header.config.applications.size());
    load_.applications.resize(1);
    load_.applications.front().name = "latecomer";
  }

  void Run() {
    std::uint32_t arrivals = 0;
    Push(now_ + milliseconds(1), RandomArrival());
    // A model comes, and at the end of the run it goes.
    Event load;
    load.kind = Event::Kind::kLoad;
    load.load = &load_;
    Push(now_ + milliseconds(2), load);
    while (!pending_.empty() || engine_.NextTimer() != kNever) {
      // Late, as live ones are.
      const TimePoint due = SaturatingAdd(engine_.NextTimer(), timer_lateness_);
      if (pending_.empty() || due <= pending_.top().time) {
        Event timer;
        timer.kind = Event::Kind::kTimer;
        timer_lateness_ = Duration(static_cast<std::int64_t>(random_.Below(200'000)));
        Handle(std::max(now_, due), timer);
        continue;
      }
      const Pending next = pending_.top();
      pending_.pop();
      Handle(std::max(now_, next.time), next.event);
      if (next.event.kind != Event::Kind::kArrival) continue;
      // What the devices can serve is about 600 requests a second.
      const double gap_ns = random_.Exponential(1e9 / (600 * options_.load));
      const TimePoint then = now_ + Duration(static_cast<std::int64_t>(gap_ns));
      if (++arrivals == options_.requests) {
        Event drain;
        drain.kind = Event::Kind::kDrain;
        Push(then, drain);
        for (int i = 0; i < 3; ++i) Push(then + milliseconds(i), RandomArrival());
      } else if (arrivals < options_.requests) {
        Push(then, RandomArrival());
      }
    }
    DULY_CHECK(engine_.live_requests() == 0);
    Event unload;
    unload.kind = Event::Kind::kUnload;
    unload.generation = load_.index;
    Handle(now_, unload);
  }

 private:
  void Push(TimePoint time, Event event) { pending_.push({time, ++order_, event}); }

  Event RandomArrival() {
    Event event;
    event.kind = Event::Kind::kArrival;
    Arrival& arrival = event.arrival;
    const std::vector<Generation>& generations = engine_.generations();
    arrival.generation = static_cast<GenerationIndex>(random_.Below(generations.size()));
    if (random_.Below(4) == 0) arrival.application = 3;
    arrival.shape = random_.Below(2) == 0 ? 0x9E3779B97F4A7C15ULL : 7;
    if (generations[arrival.generation].max_rows >= 4 && random_.Below(3) == 0) {
      arrival.rows = 1 + static_cast<std::uint32_t>(random_.Below(3));
    }
    if (random_.Below(8) == 0) arrival.variants = 1;
    switch (random_.Below(6)) {
      case 0:
        arrival.timeout = microseconds(static_cast<std::int64_t>(100 + random_.Below(20'000)));
        break;
      case 1:
        arrival.slo = microseconds(static_cast<std::int64_t>(2000 + random_.Below(100'000)));
        break;
      case 2:
        arrival.call_timeout = microseconds(50'000);
        arrival.min_accuracy_pct = 90.3;
        arrival.priority = 1;
        break;
      default:
        break;
    }
    return event;
  }

  void Handle(TimePoint time, const Event& event) {
    now_ = time;
    effects_.Clear();
    engine_.Handle(now_, event, effects_);
    observer_.OnEvent(now_, event, effects_);
    for (const StartBatch& start : effects_.starts) {
      // Around the curve, not around the prediction, which follows what it is shown.
      const Variant& variant = engine_.generations()[start.generation].variants[start.variant];
      const Duration mean = variant.On(start.device)->service.curve().Mean(start.rows);
      const double service_ns = random_.Lognormal(static_cast<double>(mean.count()), 0.3);
      const Duration service(static_cast<std::int64_t>(service_ns));
      Event done;
      done.kind = Event::Kind::kBatchDone;
      done.done.batch = start.batch;
      done.done.failed = random_.Below(50) == 0;
      done.done.input = service / 10;
      done.done.infer = service / 10 * 8;
      done.done.output = service / 20;
      Push(now_ + service, done);
    }
    if (event.kind == Event::Kind::kArrival && random_.Below(20) == 0) {
      Event cancel;
      cancel.kind = Event::Kind::kCancel;
      cancel.request = effects_.arrived;
      const double after_ns = random_.Exponential(5e6);
      Push(now_ + Duration(static_cast<std::int64_t>(after_ns)), cancel);
    }
  }

  Engine engine_;
  GenerationLoad load_;
  const ScriptOptions options_;
  EventObserver& observer_;
  RandomStream random_;
  TimePoint now_;
  Duration timer_lateness_{50'000};
  std::priority_queue<Pending, std::vector<Pending>, Later> pending_;
  std::uint64_t order_ = 0;
  Effects effects_;
};

}  // namespace

EventLogHeader TestHeader() {
  EventLogHeader header;
  header.policy = "edf";
  header.policy_options = {{"reserve", "500us"}};
  header.started = "2026-11-21T12:00:00.123456Z";
  header.start = FromNanos(987'654'321'012);
  header.host = "board-\"1\"\n";
  header.seed = 0xFFFFFFFFFFFFFFFF;
  header.build = "0.1.0";
  EngineConfig& config = header.config;
  config.max_waiting = 64;
  config.devices = {{"cpu", 2}, {"gpu", 1}};

  Generation detector;
  detector.model = "detector";
  detector.max_rows = 8;
  detector.default_variant = 1;
  detector.default_application = 0;
  detector.variants = {
      {"fast", 90.2, {PlacedOn(0, milliseconds(2), 2), PlacedOn(1, milliseconds(1), 1)}},
      {"good", 92.7, {PlacedOn(0, milliseconds(5), 2), PlacedOn(1, milliseconds(2), 1)}},
      {"best", 93.1, {PlacedOn(1, milliseconds(4), 1)}}};
  detector.slo = milliseconds(40);

  Generation speech;
  speech.model = "speech";
  speech.version = 3;
  speech.default_application = 1;
  speech.variants = {{"default", 0, {PlacedOn(0, milliseconds(3), 1)}}};
  speech.timeout = milliseconds(25);

  Generation tagger;
  tagger.model = "tagger";
  tagger.max_rows = 16;
  tagger.default_application = 2;
  tagger.variants = {{"int8", 1.0 / 3, {PlacedOn(1, microseconds(1500), 1)}},
                     {"fp32", 0.1, {PlacedOn(0, microseconds(4000), 1)}}};
  tagger.batching = DynamicBatching{
      .preferred_rows = {4, 8},
      .max_queue_delay = milliseconds(2),
      .queue = {.max_requests = 100},
      .levels = {QueuePolicy{.max_requests = 7}, QueuePolicy{.default_timeout = milliseconds(30),
                                                             .allow_timeout_override = false,
                                                             .on_timeout = OnTimeout::kDelay}},
      .default_level = 2};
  config.generations = {detector, speech, tagger};

  config.applications.resize(4);
  config.applications[0].name = "cameras";
  config.applications[0].on_miss = OnMiss::kDegrade;
  config.applications[0].min_accuracy_pct = 90;
  config.applications[1].name = "speech";
  config.applications[2].name = "tagger";
  config.applications[2].on_miss = OnMiss::kServeLate;
  config.applications[2].slo = milliseconds(15);
  config.applications[3].name = "guests";
  config.applications[3].weight = 0.1;
  config.applications[3].timeout = milliseconds(10);
  return header;
}

void RunScript(const EventLogHeader& header, const ScriptOptions& options,
               EventObserver& observer) {
  Script(header, options, observer).Run();
}

void Collector::OnEvent(TimePoint now, const Event& event, const Effects& effects) {
  LogRecord record;
  record.number = records.size() + 1;
  record.time = now;
  record.event = event;
  if (event.load != nullptr) {
    record.load = std::make_shared<const GenerationLoad>(*event.load);
    record.event.load = record.load.get();
  }
  record.effects = effects;
  records.push_back(std::move(record));
}

std::vector<LogRecord> ScriptedRecords(const ScriptOptions& options) {
  Collector collector;
  RunScript(TestHeader(), options, collector);
  return std::move(collector.records);
}

std::string EncodeLog(const EventLogHeader& header, const std::vector<LogRecord>& records,
                      std::size_t block_bytes) {
  std::string log = EncodeFileHeader(header);
  RecordEncoder encoder;
  BlockFramer framer;
  std::vector<std::uint8_t> block;
  const auto append = [&](std::size_t most, const auto& encode) {
    const std::size_t before = block.size();
    block.resize(before + most);
    block.resize(static_cast<std::size_t>(encode(&block[before]) - block.data()));
  };
  const auto take = [&] {
    const auto frame = framer.Frame(std::as_bytes(std::span(block)));
    log.append(reinterpret_cast<const char*>(frame.data()), frame.size());
    log.append(reinterpret_cast<const char*>(block.data()), block.size());
    block.clear();
  };
  for (const LogRecord& record : records) {
    const std::string load = record.load == nullptr ? "" : ToJson(*record.load);
    append(RecordEncoder::MostBytes(record.effects) + load.size(), [&](std::uint8_t* out) {
      if (record.kind == LogRecord::Kind::kGap) return encoder.AddGap(out, record.lost);
      if (record.load != nullptr) return encoder.AddLoad(out, record.time, load, record.effects);
      return encoder.Add(out, record.time, record.event, record.effects);
    });
    if (block.size() >= block_bytes) take();
  }
  append(RecordEncoder::kEndBytes, [&](std::uint8_t* out) { return encoder.AddEnd(out); });
  take();
  return log;
}

Result<EventLogReader> ReadLog(std::string bytes) {
  return EventLogReader::Read(std::make_unique<std::istringstream>(std::move(bytes)), "test.log");
}

ReadResult ReadAll(std::string bytes) {
  ReadResult result;
  Result<EventLogReader> reader = ReadLog(std::move(bytes));
  if (!reader) {
    result.status = reader.error();
    return result;
  }
  for (;;) {
    const Result<const LogRecord*> record = reader->Next();
    if (!record) {
      result.status = record.error();
      return result;
    }
    if (*record == nullptr) break;
    result.records.push_back(**record);
  }
  result.cut = reader->cut();
  return result;
}

bool SameRecord(const LogRecord& a, const LogRecord& b) {
  if (a.kind != b.kind || a.number != b.number) return false;
  if (a.kind == LogRecord::Kind::kGap) return a.lost == b.lost;
  Event event = a.event;
  if (a.load != nullptr && b.load != nullptr && ToJson(*a.load) == ToJson(*b.load)) {
    event.load = b.event.load;
  }
  return a.time == b.time && event == b.event && a.effects.arrived == b.effects.arrived &&
         a.effects.finishes == b.effects.finishes && a.effects.starts == b.effects.starts &&
         a.effects.members == b.effects.members;
}

PolicyFactory RegistryFactory() {
  return [](const std::string& name, const std::map<std::string, std::string>& options) {
    return MakeDispatchPolicy(name, options);
  };
}

}  // namespace duly
