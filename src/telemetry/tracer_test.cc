// SPDX-License-Identifier: Apache-2.0
#include "telemetry/tracer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr TraceLevels kTimestamps{true, false};

class TracerTest : public ::testing::Test {
 protected:
  // Traces every request into FOLDER/trace.json.
  TracerOptions On() const {
    TracerOptions options;
    options.start.levels = kTimestamps;
    options.start.rate = 1;
    options.start.file = folder_.At("trace.json");
    return options;
  }
  static TraceChange Levels(TraceLevels levels) {
    TraceChange change;
    change.levels.emplace(levels);
    return change;
  }
  static TraceChange File(const std::string& file) {
    TraceChange change;
    change.file.emplace(file);
    return change;
  }
  // What is in a file; the tracer must be gone or have nothing to write.
  nlohmann::json Read(const std::string& name) const {
    return nlohmann::json::parse(ReadFile(folder_.At(name)).value());
  }
  std::vector<int> IdsIn(const std::string& name) const {
    std::vector<int> ids;
    for (const auto& trace : Read(name)) ids.push_back(trace.at("id"));
    return ids;
  }

  TempFolder folder_;
};

TEST_F(TracerTest, WritesEveryNthRequestInOneArray) {
  TracerOptions options = On();
  options.start.rate = 3;
  auto tracer = Tracer::Start(options).value();
  EXPECT_TRUE(tracer->enabled());
  for (int i = 1; i <= 7; ++i) {
    TraceHandle trace = tracer->Sample("fashion", 4, "request \"" + std::to_string(i) + "\"");
    ASSERT_EQ(trace != nullptr, i % 3 == 0) << i;
    if (trace == nullptr) continue;
    trace->Mark(TracePoint::kRequestEnd, FromNanos(20 * i));
    trace->Mark(TracePoint::kRequestStart, FromNanos(10 * i));
  }
  tracer.reset();
  EXPECT_EQ(Read("trace.json"), nlohmann::json::parse(R"([
      {"id": 1, "model_name": "fashion", "model_version": 4, "request_id": "request \"3\"",
       "timestamps": [{"name": "REQUEST_START", "ns": 30}, {"name": "REQUEST_END", "ns": 60}]},
      {"id": 2, "model_name": "fashion", "model_version": 4, "request_id": "request \"6\"",
       "timestamps": [{"name": "REQUEST_START", "ns": 60}, {"name": "REQUEST_END", "ns": 120}]}])"));
}

TEST_F(TracerTest, StopsWhenItsCountIsUsedUpUntilItIsSetAgain) {
  TracerOptions options = On();
  options.start.count = 2;
  auto tracer = Tracer::Start(options).value();
  EXPECT_NE(tracer->Sample("a", 1, ""), nullptr);
  EXPECT_EQ(tracer->SettingsOf("a").count, 1);
  EXPECT_NE(tracer->Sample("b", 1, ""), nullptr);
  EXPECT_FALSE(tracer->enabled());
  EXPECT_EQ(tracer->Sample("a", 1, ""), nullptr);
  TraceChange change;
  change.rate.emplace(1);
  EXPECT_EQ(tracer->Update("", change)->count, 0);
  EXPECT_FALSE(tracer->enabled());
  change.count.emplace(1);
  EXPECT_EQ(tracer->Update("", change)->count, 1);
  EXPECT_NE(tracer->Sample("a", 1, ""), nullptr);
  // Cleared: as at the start.
  change.count.emplace();
  EXPECT_EQ(tracer->Update("", change)->count, 2);
  tracer.reset();
  EXPECT_THAT(IdsIn("trace.json"), ElementsAre(1, 2, 3));
}

TEST_F(TracerTest, StartsAnotherFileAfterSoManyTraces) {
  TracerOptions options = On();
  options.start.per_file = 2;
  auto tracer = Tracer::Start(options).value();
  for (int i = 0; i < 5; ++i) EXPECT_NE(tracer->Sample("a", 1, ""), nullptr);
  tracer.reset();
  EXPECT_THAT(IdsIn("trace.json.0"), ElementsAre(1, 2));
  EXPECT_THAT(IdsIn("trace.json.1"), ElementsAre(3, 4));
  EXPECT_THAT(IdsIn("trace.json.2"), ElementsAre(5));
  EXPECT_FALSE(IsFile(folder_.At("trace.json")));
}

TEST_F(TracerTest, OverwritesAnOldFileAndIsCompleteFromTheStart) {
  folder_.Write("trace.json", std::string(1000, 'x'));
  const auto tracer = Tracer::Start(On()).value();
  EXPECT_EQ(Read("trace.json"), nlohmann::json::array());
}

TEST_F(TracerTest, LeavesFilesAloneWhileItIsOff) {
  folder_.Write("trace.json", "old");
  TracerOptions options = On();
  options.start.levels = {};
  auto tracer = Tracer::Start(options).value();
  EXPECT_FALSE(tracer->enabled());
  EXPECT_EQ(tracer->Sample("a", 1, ""), nullptr);
  EXPECT_EQ(ReadFile(folder_.At("trace.json")).value(), "old");
  ASSERT_TRUE(tracer->Update("", Levels(kTimestamps)));
  EXPECT_NE(tracer->Sample("a", 1, ""), nullptr);
  ASSERT_TRUE(tracer->Update("", Levels({})));
  EXPECT_FALSE(tracer->enabled());
  ASSERT_TRUE(tracer->Update("", Levels(kTimestamps)));
  EXPECT_NE(tracer->Sample("a", 1, ""), nullptr);
  tracer.reset();
  EXPECT_THAT(IdsIn("trace.json"), ElementsAre(1, 2));
}

TEST_F(TracerTest, AModelsOwnSettingsStandBeforeThoseOfAllUntilTheyAreCleared) {
  auto tracer = Tracer::Start(On()).value();
  TraceChange own;
  own.rate.emplace(2);
  EXPECT_EQ(tracer->Update("m", own)->rate, 2);
  EXPECT_EQ(tracer->SettingsOf("").rate, 1);
  EXPECT_EQ(tracer->SettingsOf("other").rate, 1);
  // Counted by itself.
  EXPECT_EQ(tracer->Sample("m", 1, ""), nullptr);
  EXPECT_NE(tracer->Sample("other", 1, ""), nullptr);
  EXPECT_NE(tracer->Sample("m", 1, ""), nullptr);

  TraceChange all;
  all.rate.emplace(5);
  all.count.emplace(9);
  ASSERT_TRUE(tracer->Update("", all));
  EXPECT_EQ(tracer->SettingsOf("m").rate, 2);
  EXPECT_EQ(tracer->SettingsOf("m").count, 9);
  EXPECT_EQ(tracer->SettingsOf("other").rate, 5);
  own.rate.emplace();
  EXPECT_EQ(tracer->Update("m", own)->rate, 5);
  all.rate.emplace();
  EXPECT_EQ(tracer->Update("", all)->rate, 1);
  EXPECT_EQ(tracer->SettingsOf("m").rate, 1);

  ASSERT_TRUE(tracer->Update("m", Levels({})));
  EXPECT_TRUE(tracer->enabled());
  EXPECT_EQ(tracer->Sample("m", 1, ""), nullptr);
  EXPECT_NE(tracer->Sample("other", 1, ""), nullptr);
}

TEST_F(TracerTest, RefusesWhatCannotBeWrittenAndChangesNothing) {
  TracerOptions options = On();
  options.start.file = folder_.At("none/trace.json");
  EXPECT_THAT(Tracer::Start(options).error().message(), HasSubstr("none/trace.json"));

  options.start.levels = {};
  auto tracer = Tracer::Start(options).value();
  TraceChange change = Levels(kTimestamps);
  change.rate.emplace(7);
  const auto result = tracer->Update("", change);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(result.error().message(), HasSubstr("No such file"));
  EXPECT_EQ(tracer->SettingsOf(""), options.start);
  EXPECT_FALSE(tracer->enabled());

  options.start.file.clear();
  tracer = Tracer::Start(options).value();
  EXPECT_THAT(tracer->Update("", Levels(kTimestamps)).error().message(),
              HasSubstr("--trace-config file=FILE"));
}

TEST_F(TracerTest, RefusesWhatIsNotARegularFile) {
  TracerOptions options = On();
  ASSERT_EQ(::mkfifo(folder_.At("trace.json").c_str(), 0600), 0);
  EXPECT_FALSE(Tracer::Start(options));
  options.start.file = folder_.At("link");
  ASSERT_EQ(::symlink(folder_.Write("precious", "kept").c_str(), options.start.file.c_str()), 0);
  EXPECT_FALSE(Tracer::Start(options));
  EXPECT_EQ(ReadFile(folder_.At("precious")).value(), "kept");
}

TEST_F(TracerTest, ClientsChooseFilesInTheFolderForItOnly) {
  TracerOptions options = On();
  auto tracer = Tracer::Start(options).value();
  EXPECT_EQ(tracer->Update("", File("other")).error().code(), StatusCode::kUnimplemented);
  EXPECT_TRUE(tracer->Update("", File(options.start.file)));

  options.folder = folder_.path();
  tracer = Tracer::Start(options).value();
  for (const char* name : {"../up", "a/b", ".hidden", "", "..", "/etc/passwd", "a b"}) {
    EXPECT_EQ(tracer->Update("", File(name)).error().code(), StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(tracer->Update("m", File("m-1.json"))->file, folder_.At("m-1.json"));
  EXPECT_TRUE(tracer->Update("m", File(folder_.At("m-1.json"))));
  EXPECT_NE(tracer->Sample("m", 1, ""), nullptr);
  EXPECT_NE(tracer->Sample("other", 1, ""), nullptr);
  tracer.reset();
  EXPECT_THAT(IdsIn("m-1.json"), ElementsAre(1));
  EXPECT_THAT(IdsIn("trace.json"), ElementsAre(2));
}

TEST_F(TracerTest, ClientsCannotOpenFilesWithoutEnd) {
  TracerOptions options = On();
  options.folder = folder_.path();
  const auto tracer = Tracer::Start(options).value();
  int opened = 0;
  while (opened < 1000 && tracer->Update("", File("f" + std::to_string(opened)))) ++opened;
  EXPECT_LT(opened, 100);
  EXPECT_TRUE(tracer->Update("", File("f0")));
}

TEST_F(TracerTest, CountsWhatItDrops) {
  TracerOptions options = On();
  options.max_waiting = 0;
  auto tracer = Tracer::Start(options).value();
  for (int i = 0; i < 3; ++i) EXPECT_NE(tracer->Sample("a", 1, ""), nullptr);
  EXPECT_EQ(tracer->dropped(), 3);
  tracer.reset();
  EXPECT_EQ(Read("trace.json"), nlohmann::json::array());
}

TEST_F(TracerTest, WritesTensorsAsText) {
  const auto tensor = [](std::string name, DataType type, Shape shape, const auto& values) {
    return Tensor{std::move(name), type, std::move(shape),
                  Buffer::CopyOf(std::as_bytes(std::span(values)))};
  };
  TracerOptions options = On();
  options.start.levels = {false, true};
  auto tracer = Tracer::Start(options).value();
  TraceHandle trace = tracer->Sample("a", 1, "");
  trace->inputs.push_back(tensor("x", DataType::kFp32, {1, 2}, std::vector<float>{1.5F, -2}));
  trace->inputs.push_back(tensor("i", DataType::kInt8, {2}, std::vector<std::int8_t>{-1, 65}));
  std::vector<std::byte> bytes;
  AppendBytesElement("", bytes);
  AppendBytesElement("caf\xC3\xA9\xFF", bytes);
  trace->outputs.push_back(tensor("t", DataType::kBytes, {2}, bytes));
  trace->outputs.push_back(
      tensor("h", DataType::kFp16, {2}, std::vector<std::uint16_t>{0x3C00, 0xC100}));
  trace.reset();
  // Beyond the bound of what waits.
  options.max_waiting_bytes = 7;
  tracer.reset();
  EXPECT_EQ(Read("trace.json"), nlohmann::json::parse(R"([
      {"id": 1, "model_name": "a", "model_version": 1, "request_id": ""},
      {"id": 1, "activity": "TENSOR_QUEUE_INPUT",
       "tensor": {"name": "x", "data": "1.5,-2", "shape": "1,2", "dtype": "FP32"}},
      {"id": 1, "activity": "TENSOR_QUEUE_INPUT",
       "tensor": {"name": "i", "data": "-1,65", "shape": "2", "dtype": "INT8"}},
      {"id": 1, "activity": "TENSOR_BACKEND_OUTPUT",
       "tensor": {"name": "t", "data": ",café�", "shape": "2", "dtype": "BYTES"}},
      {"id": 1, "activity": "TENSOR_BACKEND_OUTPUT",
       "tensor": {"name": "h", "data": "1,-2.5", "shape": "2", "dtype": "FP16"}}])"));

  tracer = Tracer::Start(options).value();
  trace = tracer->Sample("a", 1, "");
  trace->inputs.push_back(tensor("x", DataType::kFp32, {2}, std::vector<float>{1, 2}));
  trace.reset();
  EXPECT_EQ(tracer->dropped(), 1);
}

}  // namespace
}  // namespace duly
