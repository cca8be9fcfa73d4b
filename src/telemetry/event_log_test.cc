// SPDX-License-Identifier: Apache-2.0
#include "telemetry/event_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>

#include "base/random.h"
#include "telemetry/event_log_records.h"
#include "telemetry/log_reader.h"
#include "telemetry/log_test_util.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

// Numbers of every magnitude up to a number of bits, which changes from record to record: so every
// form of every record occurs, and what only just fits.
struct Chance {
  RandomStream random;
  std::uint64_t most_bits = 64;
  std::uint64_t number = 0;  // of the event
  std::uint64_t Below(std::uint64_t bound) { return random.Below(bound); }
};
std::uint64_t AnyWord(Chance& random) {
  const std::uint64_t bits = random.random.Bits();
  const std::uint64_t width = random.Below(random.most_bits + 1);
  if (width == 0) return 0;
  const std::uint64_t most = ~std::uint64_t{0} >> (64 - width);
  return random.Below(8) == 0 ? most : bits & most;
}
std::uint32_t AnyU32(Chance& random) {
  return static_cast<std::uint32_t>(AnyWord(random) & 0xFFFFFFFF);
}
Duration AnyDuration(Chance& random) {
  const std::uint64_t word = AnyWord(random);
  const bool negative = random.most_bits == 64 && random.Below(2) == 0;
  return Duration(static_cast<std::int64_t>(negative ? ~word : word));
}
RequestId AnyId(Chance& random) {
  RequestId id;
  id.index = AnyU32(random);
  id.sequence = random.number - AnyU32(random);
  return id;
}

Event AnyEvent(Chance& random) {
  Event event;
  event.kind = static_cast<Event::Kind>(random.Below(5));
  if (event.kind == Event::Kind::kArrival) {
    Arrival& a = event.arrival;
    a.generation = static_cast<GenerationIndex>(random.Below(3));
    if (random.Below(2) == 0) a.application = static_cast<ApplicationIndex>(random.Below(4));
    if (random.Below(2) == 0) a.shape = AnyWord(random);
    if (random.Below(2) == 0) a.rows = AnyU32(random);
    if (random.Below(2) == 0) a.variants = AnyU32(random);
    if (random.Below(2) == 0) a.slo = AnyDuration(random);
    if (random.Below(2) == 0) a.timeout = AnyDuration(random);
    if (random.Below(2) == 0) a.min_accuracy_pct = random.random.Normal() * 1e-3;
    if (random.Below(2) == 0) a.priority = AnyU32(random);
  } else if (event.kind == Event::Kind::kBatchDone) {
    event.done.batch = AnyU32(random);
    event.done.failed = random.Below(2) == 0;
    event.done.input = AnyDuration(random);
    event.done.infer = AnyDuration(random);
    event.done.output = AnyDuration(random);
  } else if (event.kind == Event::Kind::kCancel) {
    event.request = AnyId(random);
  }
  return event;
}

Finish AnyFinish(Chance& random) {
  Finish finish;
  finish.request = AnyId(random);
  finish.outcome = static_cast<Outcome>(random.Below(kOutcomeCount));
  finish.reason = static_cast<RejectReason>(random.Below(6));
  finish.application = static_cast<ApplicationIndex>(random.Below(4));
  if (random.Below(2) == 0) finish.device = static_cast<DeviceIndex>(random.Below(2));
  finish.batch = AnyU32(random);
  finish.batch_position = AnyU32(random);
  finish.variant = static_cast<std::uint32_t>(random.Below(kMaxVariants));
  finish.batch_rows = AnyU32(random);
  finish.waiting = AnyDuration(random);
  finish.service = AnyDuration(random);
  finish.predicted = AnyDuration(random);
  finish.retry_after = AnyDuration(random);
  return finish;
}

void AddAnyStart(Chance& random, Effects& effects) {
  StartBatch start;
  start.batch = AnyU32(random);
  start.device = static_cast<DeviceIndex>(random.Below(2));
  start.slot = AnyU32(random);
  start.generation = static_cast<GenerationIndex>(random.Below(3));
  start.rows = AnyU32(random);
  start.predicted = AnyDuration(random);
  start.first_member = static_cast<std::uint32_t>(effects.members.size());
  start.member_count = static_cast<std::uint32_t>(random.Below(9));
  for (std::uint32_t i = 0; i < start.member_count; ++i) effects.members.push_back(AnyId(random));
  effects.starts.push_back(start);
}

std::vector<LogRecord> AnyRecords(std::uint64_t seed, std::size_t count) {
  Chance random{RandomStream(seed, "records")};
  std::vector<LogRecord> records;
  std::uint64_t number = 0;
  TimePoint time = FromNanos(-5'000'000'000);
  for (std::size_t i = 0; i < count; ++i) {
    LogRecord record;
    record.number = ++number;
    random.number = number;
    random.most_bits = std::uint64_t{8} << random.Below(4);
    if (random.Below(20) == 0) {
      record.kind = LogRecord::Kind::kGap;
      record.lost = 1 + random.Below(1000);
      number += record.lost - 1;
    } else {
      time += Duration(static_cast<std::int64_t>(AnyWord(random) & 0xFFF'FFFF'FFFF));
      record.time = time;
      record.event = AnyEvent(random);
      if (record.event.kind == Event::Kind::kArrival) {
        record.effects.arrived = {AnyU32(random), number};
      }
      for (std::uint64_t n = random.Below(4); n > 0; --n) {
        record.effects.finishes.push_back(AnyFinish(random));
      }
      for (std::uint64_t n = random.Below(3); n > 0; --n) AddAnyStart(random, record.effects);
    }
    records.push_back(record);
  }
  return records;
}

// One model on one device, so that a log is short enough to be damaged everywhere.
EventLogHeader SmallHeader() {
  EventLogHeader header = TestHeader();
  header.config.generations.resize(1);
  header.config.generations[0].variants.resize(1);
  header.config.generations[0].variants[0].placements.resize(1);
  header.config.generations[0].default_variant = 0;
  header.config.applications.resize(1);
  header.config.devices.resize(1);
  return header;
}

// Requests that each arrive, start and end.
std::vector<LogRecord> SmallRun(std::uint32_t requests) {
  Collector run;
  for (std::uint32_t i = 0; i < requests; ++i) {
    Event arrival;
    arrival.kind = Event::Kind::kArrival;
    arrival.arrival.shape = 0x0123456789ABCDEF;
    Effects start;
    start.arrived = {i, 2 * i + 1};
    start.starts.resize(1);
    start.starts[0].batch = i;
    start.starts[0].member_count = 1;
    start.members = {start.arrived};
    run.OnEvent(FromNanos(1'000'000 * i), arrival, start);
    Event done;
    done.kind = Event::Kind::kBatchDone;
    done.done.batch = i;
    Effects end;
    end.finishes.resize(1);
    end.finishes[0].request = start.arrived;
    end.finishes[0].device = 0;
    end.finishes[0].batch = i;
    end.finishes[0].service = Duration(500'000);
    run.OnEvent(FromNanos(1'000'000 * i + 500'000), done, end);
  }
  return run.records;
}

// What was read is what was written, and then an end record.
void ExpectRead(const std::vector<LogRecord>& written, const ReadResult& read) {
  ASSERT_TRUE(read.status.ok()) << read.status.message();
  EXPECT_FALSE(read.cut.has_value());
  ASSERT_EQ(read.records.size(), written.size() + 1);
  for (std::size_t i = 0; i < written.size(); ++i) {
    ASSERT_TRUE(SameRecord(read.records[i], written[i])) << "record " << i;
  }
  const LogRecord& end = read.records.back();
  EXPECT_EQ(end.kind, LogRecord::Kind::kEnd);
  std::uint64_t events = 0;
  std::uint64_t lost = 0;
  for (const LogRecord& record : written) {
    if (record.kind == LogRecord::Kind::kGap) {
      lost += record.lost;
    } else {
      ++events;
    }
  }
  EXPECT_EQ(end.recorded, events);
  EXPECT_EQ(end.lost, lost);
}

TEST(EventLog, AnyEventsComeBackAsTheyWereInBlocksOfAnySize) {
  for (const std::size_t block_bytes : {std::size_t{1}, std::size_t{500}, std::size_t{1} << 16}) {
    const std::vector<LogRecord> records = AnyRecords(block_bytes, 1000);
    ExpectRead(records, ReadAll(EncodeLog(TestHeader(), records, block_bytes)));
  }
}

TEST(EventLog, AnEventWithManyDecisionsFitsInOneBlock) {
  Chance random{RandomStream(1, "many")};
  random.number = 1;
  LogRecord record;
  record.number = 1;
  for (int i = 0; i < 5000; ++i) record.effects.finishes.push_back(AnyFinish(random));
  for (int i = 0; i < 500; ++i) AddAnyStart(random, record.effects);
  ExpectRead({record}, ReadAll(EncodeLog(TestHeader(), {record})));
}

TEST(EventLog, ALogWithoutEventsIsWhole) { ExpectRead({}, ReadAll(EncodeLog(TestHeader(), {}))); }

TEST(EventLog, AScriptedRunTakesLessThan200BytesARequest) {
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 1000});
  const std::string log = EncodeLog(TestHeader(), records);
  ExpectRead(records, ReadAll(log));
  EXPECT_LT(log.size(), 200 * 1000U);
}

TEST(EventLogHeader, ComesBackExactly) {
  EventLogHeader header = TestHeader();
  header.config.applications[0].weight = 0.1 + 0.2;
  header.config.applications[0].accuracy_budget = {0.1 + 0.2, 77};
  header.config.applications[1].weight = 5e-324;
  header.config.applications[2].weight = std::numeric_limits<double>::max();
  header.config.applications[1].slo = Duration::max();
  const Result<EventLogHeader> read = ParseEventLogHeader(ToJson(header));
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(ToJson(*read), ToJson(header));
  EXPECT_EQ(read->host, header.host);
  EXPECT_EQ(read->seed, header.seed);
  EXPECT_EQ(read->start, header.start);
  EXPECT_EQ(read->policy_options, header.policy_options);
  const EngineConfig& a = header.config;
  const EngineConfig& b = read->config;
  for (std::size_t i = 0; i < a.applications.size(); ++i) {
    EXPECT_EQ(a.applications[i].weight, b.applications[i].weight);
    EXPECT_EQ(a.applications[i].slo, b.applications[i].slo);
    EXPECT_EQ(a.applications[i].timeout, b.applications[i].timeout);
    EXPECT_EQ(a.applications[i].on_miss, b.applications[i].on_miss);
    EXPECT_EQ(a.applications[i].min_accuracy_pct, b.applications[i].min_accuracy_pct);
    EXPECT_EQ(a.applications[i].accuracy_budget, b.applications[i].accuracy_budget);
  }
  ASSERT_EQ(a.generations.size(), b.generations.size());
  for (std::size_t g = 0; g < a.generations.size(); ++g) {
    const Generation& generation = a.generations[g];
    EXPECT_EQ(generation.slo, b.generations[g].slo);
    EXPECT_EQ(generation.timeout, b.generations[g].timeout);
    EXPECT_EQ(generation.batching.has_value(), b.generations[g].batching.has_value());
    if (generation.batching) {
      const DynamicBatching& batching = *b.generations[g].batching;
      EXPECT_EQ(generation.batching->queue.max_requests, batching.queue.max_requests);
      EXPECT_EQ(generation.batching->default_level, batching.default_level);
      ASSERT_EQ(generation.batching->levels.size(), batching.levels.size());
      for (std::size_t level = 0; level < batching.levels.size(); ++level) {
        const QueuePolicy& policy = generation.batching->levels[level];
        EXPECT_EQ(policy.max_requests, batching.levels[level].max_requests);
        EXPECT_EQ(policy.default_timeout, batching.levels[level].default_timeout);
        EXPECT_EQ(policy.allow_timeout_override, batching.levels[level].allow_timeout_override);
        EXPECT_EQ(policy.on_timeout, batching.levels[level].on_timeout);
      }
    }
    ASSERT_EQ(generation.variants.size(), b.generations[g].variants.size());
    for (std::size_t v = 0; v < generation.variants.size(); ++v) {
      const Variant& variant = generation.variants[v];
      EXPECT_EQ(variant.accuracy_pct, b.generations[g].variants[v].accuracy_pct);
      for (const Placement& placement : variant.placements) {
        const Placement* other = b.generations[g].variants[v].On(placement.device);
        ASSERT_NE(other, nullptr);
        for (std::uint32_t rows = 1; rows < 40; ++rows) {
          EXPECT_EQ(placement.service.Mean(rows), other->service.Mean(rows));
        }
      }
    }
  }
}

TEST(EventLogHeader, RefusesWhatNoEngineCanBeBuiltFrom) {
  const std::string good = ToJson(TestHeader());
  ASSERT_TRUE(ParseEventLogHeader(good).has_value());
  struct Case {
    const char* from;
    const char* to;
    const char* message;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"\"host\"", "\"hots\"", "host"},
           {"\"slots\":2", "\"slots\":\"2\"", "number"},
           {"\"slots\":2", "\"slots\":0", "has 0 slots"},
           {"\"slots\":2", "\"slots\":4000000000", "has 4000000000 slots"},
           {"\"device\":1", "\"device\":2", "names device 2 of 2"},
           {"\"device\":1", "\"device\":0", "twice"},
           {"\"default_variant\":1", "\"default_variant\":3", "has no variant 3"},
           {"\"default_application\":1", "\"default_application\":4", "names application 4 of 4"},
           {"degrade", "degarde", "on_miss 'degarde'"},
           {"[1,5000000]", "[1,0]", "mean above zero"},
           {"[1,5000000]", "[9,5000000]", "ascending rows"},
           {"{", "", "parse error"}}) {
    std::string bad = good;
    ASSERT_NE(bad.find(c.from), std::string::npos) << c.from;
    bad.replace(bad.find(c.from), std::string_view(c.from).size(), c.to);
    const Result<EventLogHeader> read = ParseEventLogHeader(bad);
    ASSERT_FALSE(read.has_value()) << c.to;
    EXPECT_THAT(read.error().message(), HasSubstr(c.message));
  }
}

TEST(EventLogReader, DetectsEveryChangedByte) {
  const std::string log = EncodeLog(SmallHeader(), SmallRun(12), 200);
  ASSERT_TRUE(ReadAll(log).status.ok());
  for (std::size_t i = 0; i < log.size(); ++i) {
    for (const unsigned flip : {0x01U, 0x80U}) {
      std::string changed = log;
      changed[i] = static_cast<char>(static_cast<unsigned char>(changed[i]) ^ flip);
      const ReadResult read = ReadAll(std::move(changed));
      ASSERT_FALSE(read.status.ok()) << "byte " << i << " flipped by " << flip;
      ASSERT_THAT(read.status.message(), HasSubstr("test.log")) << "byte " << i;
    }
  }
}

TEST(EventLogReader, NamesTheDamagedBlock) {
  const std::string header = EncodeFileHeader(SmallHeader());
  std::string log = EncodeLog(SmallHeader(), SmallRun(12), 200);
  std::uint32_t length = 0;
  std::memcpy(&length, log.data() + header.size(), sizeof(length));
  const std::size_t second = header.size() + kEventLogFrameBytes + length;
  log[second + kEventLogFrameBytes + 5] ^= 1;
  const ReadResult read = ReadAll(log);
  EXPECT_THAT(read.status.message(),
              HasSubstr("test.log: byte " + std::to_string(second) + " (block 1): the checksum"));
  EXPECT_FALSE(read.records.empty()) << "the block before it is good";
}

TEST(EventLogReader, ReadsACutLogUpToItsLastWholeBlock) {
  const std::vector<LogRecord> records = SmallRun(12);
  const std::string header = EncodeFileHeader(SmallHeader());
  const std::string log = EncodeLog(SmallHeader(), records, 200);
  // Ends of blocks, and how many records were written before each.
  std::vector<std::pair<std::size_t, std::size_t>> ends{{header.size(), 0}};
  for (std::size_t at = header.size(); at < log.size();) {
    std::uint32_t length = 0;
    std::memcpy(&length, log.data() + at, sizeof(length));
    at += kEventLogFrameBytes + length;
    const ReadResult whole = ReadAll(log.substr(0, at));
    ASSERT_TRUE(whole.status.ok());
    ends.emplace_back(at, whole.records.size());
  }
  ASSERT_GT(ends.size(), 4U);
  for (std::size_t size = 0; size < log.size(); ++size) {
    const ReadResult read = ReadAll(log.substr(0, size));
    if (size < header.size()) {
      EXPECT_FALSE(read.status.ok()) << size;
      continue;
    }
    ASSERT_TRUE(read.status.ok()) << read.status.message();
    const auto behind =
        std::ranges::upper_bound(ends, size, {}, [](const auto& e) { return e.first; });
    const auto [end, count] = *(behind - 1);
    ASSERT_TRUE(read.cut.has_value()) << size;
    EXPECT_EQ(read.cut->offset, end);
    EXPECT_EQ(read.cut->bytes, size - end);
    ASSERT_EQ(read.records.size(), count);
    for (std::size_t i = 0; i < count; ++i) ASSERT_TRUE(SameRecord(read.records[i], records[i]));
  }
}

TEST(EventLogReader, MissesRemovedAndRepeatedBlocks) {
  const std::string header = EncodeFileHeader(SmallHeader());
  const std::string log = EncodeLog(SmallHeader(), SmallRun(12), 200);
  std::uint32_t length = 0;
  std::memcpy(&length, log.data() + header.size(), sizeof(length));
  const std::string first = log.substr(header.size(), kEventLogFrameBytes + length);
  const std::string rest = log.substr(header.size() + first.size());
  EXPECT_THAT(ReadAll(header + rest).status.message(), HasSubstr("there is block 1 instead"));
  EXPECT_THAT(ReadAll(header + first + first + rest).status.message(),
              HasSubstr("there is block 0 instead"));
  EXPECT_THAT(ReadAll(log + first).status.message(), HasSubstr("behind the end record"));
  EXPECT_THAT(ReadAll(log + "x").status.message(), HasSubstr("behind the end record"));
}

TEST(EventLogReader, FollowsLoadsAndUnloads) {
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 50});
  Result<EventLogReader> reader = ReadLog(EncodeLog(TestHeader(), records));
  ASSERT_TRUE(reader);
  const std::size_t before = TestHeader().config.generations.size();
  std::size_t most = 0;
  for (;;) {
    const Result<const LogRecord*> record = reader->Next();
    ASSERT_TRUE(record) << record.error().message();
    if (*record == nullptr) break;
    most = std::max(most, reader->config().generations.size());
  }
  EXPECT_EQ(most, before + 1);
  EXPECT_EQ(reader->config().generations.back().model, "latecomer");
  EXPECT_TRUE(reader->config().generations.back().variants.empty());
  EXPECT_EQ(reader->config().applications.back().name, "latecomer");
}

TEST(EventLogReader, RefusesLoadsThatMakeNoSense) {
  const auto status_of = [](const std::function<void(GenerationLoad&)>& change) {
    std::vector<LogRecord> records = ScriptedRecords({.requests = 50});
    const auto load = std::ranges::find_if(
        records, [](const LogRecord& record) { return record.load != nullptr; });
    GenerationLoad changed = *load->load;
    change(changed);
    load->load = std::make_shared<const GenerationLoad>(changed);
    load->event.load = load->load.get();
    return std::string(ReadAll(EncodeLog(TestHeader(), records)).status.message());
  };
  EXPECT_THAT(status_of([](GenerationLoad& load) { load.index = 9; }),
              HasSubstr("model 9 is loaded: there are 3"));
  EXPECT_THAT(status_of([](GenerationLoad& load) { load.index = 0; }),
              HasSubstr("model 0 is loaded, which is there already"));
  EXPECT_THAT(status_of([](GenerationLoad& load) { load.generation.default_variant = 40; }),
              HasSubstr("has no variant 40"));
}

TEST(EventLogReader, SaysWhatIsNotAnEventLog) {
  EXPECT_THAT(ReadAll("").status.message(), HasSubstr("is not an event log"));
  EXPECT_THAT(ReadAll("{\"tool\":\"load\"}").status.message(), HasSubstr("is not an event log"));
  std::string older = EncodeLog(TestHeader(), {});
  older[8] = 1;
  EXPECT_THAT(ReadAll(older).status.message(),
              HasSubstr("test.log: has format version 1: expected 4"));
  EXPECT_THAT(EventLogReader::Open("/nowhere/run.log").error().message(),
              HasSubstr("No such file"));
  EXPECT_THAT(EventLogReader::Open("/").error().message(), HasSubstr("cannot be read"));
}

TEST(EventLogReader, RefusesIndicesBeyondTheHeader) {
  struct Case {
    void (*change)(LogRecord&);
    const char* message;
  };
  for (const Case& c : std::initializer_list<Case>{
           {[](LogRecord& r) { r.event.arrival.generation = 3; }, "names model 3"},
           {[](LogRecord& r) { r.event.arrival.application = 4; }, "names application 4"},
           {[](LogRecord& r) { r.effects.finishes[0].application = 4; }, "names application 4"},
           {[](LogRecord& r) { r.effects.finishes[0].device = 2; }, "names device 2"},
           {[](LogRecord& r) { r.effects.finishes[0].variant = 32; }, "names variant 32"},
           {[](LogRecord& r) { r.effects.starts[0].device = 2; }, "names device 2"},
           {[](LogRecord& r) { r.effects.starts[0].generation = 3; }, "names model 3"},
           {[](LogRecord& r) { r.effects.starts[0].variant = 3; }, "names variant 3"}}) {
    LogRecord record;
    record.event.kind = Event::Kind::kArrival;
    record.effects.finishes.resize(1);
    record.effects.finishes[0].device = 0;
    record.effects.finishes[0].batch = 0;
    record.effects.starts.resize(1);
    EXPECT_TRUE(ReadAll(EncodeLog(TestHeader(), {record})).status.ok());
    c.change(record);
    const ReadResult read = ReadAll(EncodeLog(TestHeader(), {record}));
    ASSERT_FALSE(read.status.ok()) << c.message;
    EXPECT_THAT(read.status.message(), HasSubstr(c.message));
    EXPECT_THAT(read.status.message(), HasSubstr("(block 0), record 1: "));
  }
}

TEST(EventLogReader, RefusesRecordsThatNoRecorderWrites) {
  const auto log_of = [](std::vector<std::uint8_t> records) {
    BlockFramer framer;
    const auto frame = framer.Frame(std::as_bytes(std::span(records)));
    return EncodeFileHeader(SmallHeader()) +
           std::string(reinterpret_cast<const char*>(frame.data()), frame.size()) +
           std::string(records.begin(), records.end());
  };
  std::vector<std::uint8_t> timer{event_log::kTimer, 1, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_TRUE(ReadAll(log_of(timer)).status.ok());
  timer[0] = event_log::kFinish;
  EXPECT_THAT(ReadAll(log_of(timer)).status.message(), HasSubstr("record 1: there is no event"));
  timer[0] = 0x0F;
  EXPECT_THAT(ReadAll(log_of(timer)).status.message(), HasSubstr("record 1: there is no event"));
  timer[0] = event_log::kTimer;
  timer.push_back(event_log::kFinish);
  EXPECT_THAT(ReadAll(log_of(timer)).status.message(), HasSubstr("record 1: a field is cut off"));
  // A batch of more members than the file could hold.
  timer.back() = event_log::kStart;
  timer.resize(timer.size() + sizeof(event_log::StartRecord) - 1, 0xFF);
  EXPECT_THAT(ReadAll(log_of(timer)).status.message(), HasSubstr("record 1: a field is cut off"));
  EXPECT_THAT(ReadAll(log_of({event_log::kGap, 0, 0, 0, 0, 0, 0, 0, 0})).status.message(),
              HasSubstr("the gap record makes no sense"));
}

TEST(EventLogReader, RefusesAnAccuracyFloorThatIsNotANumber) {
  LogRecord record;
  record.event.kind = Event::Kind::kArrival;
  for (const double floor : {-std::numeric_limits<double>::infinity(), -0.5, 0.0, 100.0}) {
    record.event.arrival.min_accuracy_pct = floor;
    EXPECT_TRUE(ReadAll(EncodeLog(TestHeader(), {record})).status.ok()) << floor;
  }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double floor : {nan, -nan, std::numeric_limits<double>::signaling_NaN()}) {
    record.event.arrival.min_accuracy_pct = floor;
    EXPECT_THAT(ReadAll(EncodeLog(TestHeader(), {record})).status.message(),
                HasSubstr("(block 0), record 1: its accuracy floor is not a number: expected "));
  }
}

TEST(EventLogReader, RefusesTimesThatGoBack) {
  std::vector<LogRecord> records(2);
  records[0].time = FromNanos(5);
  records[1].time = FromNanos(4);
  EXPECT_THAT(ReadAll(EncodeLog(TestHeader(), records)).status.message(),
              HasSubstr("record 2: its time 4 ns is before that of the event before, 5 ns"));
}

}  // namespace
}  // namespace duly
