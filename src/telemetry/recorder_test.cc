// SPDX-License-Identifier: Apache-2.0
#include "telemetry/recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <latch>
#include <sstream>

#include "telemetry/log_test_util.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

// A disk in memory that can be held up or run full.
struct Disk {
  Mutex mutex;
  std::condition_variable_any changed;
  std::string bytes DULY_GUARDED_BY(mutex);
  std::size_t capacity DULY_GUARDED_BY(mutex) = SIZE_MAX;
  int appends DULY_GUARDED_BY(mutex) = 0;
  bool held DULY_GUARDED_BY(mutex) = false;
  bool closed DULY_GUARDED_BY(mutex) = false;

  void Hold(bool hold) {
    MutexLock lock(mutex);
    held = hold;
    changed.notify_all();
  }
  std::string Bytes() {
    MutexLock lock(mutex);
    return bytes;
  }
};

class DiskSink final : public LogSink {
 public:
  explicit DiskSink(Disk& disk) : disk_(disk) {}
  Status Append(std::span<const std::byte> bytes) override {
    MutexLock lock(disk_.mutex);
    ++disk_.appends;
    disk_.changed.notify_all();
    while (disk_.held) disk_.changed.wait(disk_.mutex);
    const std::size_t fits = std::min(bytes.size(), disk_.capacity - disk_.bytes.size());
    disk_.bytes.append(reinterpret_cast<const char*>(bytes.data()), fits);
    if (fits == bytes.size()) return Status();
    return Status(StatusCode::kResourceExhausted, "disk full");
  }
  Status Close() override {
    MutexLock lock(disk_.mutex);
    disk_.closed = true;
    return Status();
  }

 private:
  Disk& disk_;
};

std::unique_ptr<Recorder> StartOn(Disk& disk, const RecorderOptions& options) {
  return Recorder::Start(std::make_unique<DiskSink>(disk), TestHeader(), options).value();
}

// The events in the log are those that were observed under their numbers, and all others are in its
// gaps.
void ExpectEvents(const ReadResult& read, const std::vector<LogRecord>& observed) {
  ASSERT_TRUE(read.status.ok()) << read.status.message();
  std::uint64_t next = 1;
  for (const LogRecord& record : read.records) {
    if (record.kind == LogRecord::Kind::kEnd) continue;
    ASSERT_EQ(record.number, next);
    next += record.kind == LogRecord::Kind::kGap ? record.lost : 1;
    if (record.kind == LogRecord::Kind::kEvent) {
      ASSERT_LE(record.number, observed.size());
      ASSERT_TRUE(SameRecord(record, observed[record.number - 1])) << record.number;
    }
  }
  if (!read.cut) {
    EXPECT_EQ(next, observed.size() + 1);
  }
}

TEST(Recorder, WritesARunThatReadsBackAsItWas) {
  const std::string file = testing::TempDir() + "recorder_test.log";
  Collector collector;
  {
    std::unique_ptr<Recorder> recorder = Recorder::Start(file, TestHeader()).value();
    RunScript(TestHeader(), {.requests = 3000}, collector);
    for (const LogRecord& r : collector.records) recorder->OnEvent(r.time, r.event, r.effects);
    EXPECT_TRUE(recorder->Close().ok());
    EXPECT_EQ(recorder->lost(), 0U);
  }
  Result<EventLogReader> reader = EventLogReader::Open(file);
  ASSERT_TRUE(reader.has_value()) << reader.error().message();
  EXPECT_EQ(ToJson(reader->header()), ToJson(TestHeader()));
  std::ifstream stream(file, std::ios::binary);
  std::stringstream bytes;
  bytes << stream.rdbuf();
  const ReadResult read = ReadAll(bytes.str());
  ExpectEvents(read, collector.records);
  EXPECT_FALSE(read.cut.has_value());
  std::filesystem::remove(file);
}

TEST(Recorder, ClosesWhenItIsDestroyed) {
  Disk disk;
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 20});
  {
    std::unique_ptr<Recorder> recorder = StartOn(disk, {});
    for (const LogRecord& r : records) recorder->OnEvent(r.time, r.event, r.effects);
  }
  const ReadResult read = ReadAll(disk.Bytes());
  ExpectEvents(read, records);
  EXPECT_FALSE(read.cut.has_value());
  MutexLock lock(disk.mutex);
  EXPECT_TRUE(disk.closed);
}

TEST(Recorder, AFullRingLosesEventsWithoutWaitingAndTheLogSaysWhich) {
  Disk disk;
  std::unique_ptr<Recorder> recorder =
      StartOn(disk, {.ring_bytes = 16 * 1024, .block_bytes = 256, .polls_per_block = 1});
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 2000});
  // Three times the disk hangs, at its first block after some events.
  std::size_t i = 0;
  for (const std::size_t until : {records.size() / 4, records.size() / 2, records.size()}) {
    disk.Hold(true);
    // Returns, although nothing is written meanwhile: there is no other way to go on.
    for (; i < until; ++i) recorder->OnEvent(records[i].time, records[i].event, records[i].effects);
    disk.Hold(false);
  }
  EXPECT_TRUE(recorder->Close().ok());
  const ReadResult read = ReadAll(disk.Bytes());
  ExpectEvents(read, records);
  EXPECT_FALSE(read.cut.has_value());
  const LogRecord& end = read.records.back();
  EXPECT_GT(end.lost, 0U);
  EXPECT_EQ(end.lost, recorder->lost());
  EXPECT_EQ(end.recorded + end.lost, records.size());
  const auto gaps = std::ranges::count(read.records, LogRecord::Kind::kGap, &LogRecord::kind);
  EXPECT_GE(gaps, 1);
  EXPECT_LE(gaps, 20) << "after a loss the ring must become half empty";
}

TEST(Recorder, WritesWhileTheRunGoesOn) {
  Disk disk;
  std::unique_ptr<Recorder> recorder = StartOn(disk, {.polls_per_block = 1});
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 20});
  for (const LogRecord& r : records) recorder->OnEvent(r.time, r.event, r.effects);
  {
    MutexLock lock(disk.mutex);
    while (disk.appends < 2) disk.changed.wait(disk.mutex);
  }
  // What a process that is killed now leaves behind.
  const ReadResult read = ReadAll(disk.Bytes());
  EXPECT_TRUE(read.cut.has_value());
  ExpectEvents(read, records);
}

TEST(Recorder, AFullDiskEndsTheLogAndNotTheRun) {
  Disk disk;
  std::unique_ptr<Recorder> recorder = StartOn(disk, {.polls_per_block = 1});
  const std::vector<LogRecord> records = ScriptedRecords({.requests = 1000});
  for (std::size_t i = 0; i < records.size(); ++i) {
    recorder->OnEvent(records[i].time, records[i].event, records[i].effects);
    if (i != 20) continue;
    // Some of them get there before it is full.
    MutexLock lock(disk.mutex);
    while (disk.appends < 3) disk.changed.wait(disk.mutex);
    disk.capacity = disk.bytes.size() + 100;
  }
  const Status status = recorder->Close();
  EXPECT_THAT(status.message(), HasSubstr("disk full"));
  EXPECT_EQ(recorder->Close(), status);
  const ReadResult read = ReadAll(disk.Bytes());
  ASSERT_TRUE(read.cut.has_value());
  EXPECT_GT(read.cut->bytes, 0U);
  // How many is the writer's pace.
  EXPECT_FALSE(read.records.empty());
  ExpectEvents(read, records);
}

TEST(Recorder, RefusesToStartWithoutAFile) {
  EXPECT_THAT(Recorder::Start("/nowhere/run.log", TestHeader()).error().message(),
              HasSubstr("/nowhere/run.log: cannot be created: No such file"));
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_THAT(Recorder::Start("/dev/full", TestHeader()).error().message(),
                HasSubstr("No space left"));
  }
}

}  // namespace
}  // namespace duly
