// SPDX-License-Identifier: Apache-2.0
//
// The exact test of the design: what a live node decided under threads, timers, overload,
// cancellations and a failing back end, the engine decides again from the recorded inputs.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <sstream>
#include <thread>

#include "backend/registry.h"
#include "base/random.h"
#include "base/temp_folder_test_util.h"
#include "policy/registry.h"
#include "runtime/node.h"
#include "runtime/steady_clock.h"
#include "telemetry/log_reader.h"
#include "telemetry/log_test_util.h"
#include "telemetry/recorder.h"
#include "telemetry/replay.h"

namespace duly {
namespace {

using std::chrono::microseconds;

constexpr int kThreads = 4;
constexpr int kRequestsEach = 3000;
constexpr int kApplications = 20;

struct Model {
  std::string name;
  Duration one_row;
  Duration eight_rows;
};
const std::vector<Model> kModels{{"small", microseconds(60), microseconds(150)},
                                 {"middle", microseconds(200), microseconds(500)},
                                 {"large", microseconds(600), microseconds(4500)}};

ModelSpec SpecOf(const Model& model) {
  ModelSpec spec;
  spec.name = model.name;
  spec.max_rows = 8;
  spec.inputs.push_back({"x", DataType::kFp32, {-1, 4}});
  spec.outputs.push_back({"y", DataType::kFp32, {-1, 4}});
  VariantSpec variant;
  variant.name = "default";
  spec.variants.push_back(variant);
  return spec;
}

class LiveReplay : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder();
    Record();
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string LogFile() { return folder_->At("live.log"); }

  static Profile MakeProfile() {
    Profile profile;
    for (const Model& model : kModels) {
      VariantProfile variant;
      variant.model = model.name;
      variant.variant = "default";
      variant.device = "*";
      variant.points.resize(2);
      variant.points[0].rows = 1;
      variant.points[0].mean = model.one_row;
      variant.points[1].rows = 8;
      variant.points[1].mean = model.eight_rows;
      for (ProfilePoint& point : variant.points) point.p95 = point.p99 = point.mean;
      profile.variants.push_back(variant);
    }
    return profile;
  }

  static void Record() {
    folder_->Write("device.yaml", ToYaml(MakeProfile()));
    NodeOptions options;
    for (const char* name : {"left", "right"}) {
      DeviceSpec device;
      device.name = name;
      device.kind = DeviceKind::kEmulated;
      device.slots = 1;
      device.profile_file = folder_->At("device.yaml");
      device.behaviour.noise = {NoiseSpec::Kind::kLognormal, 0.3};
      device.behaviour.fail_every = 200;
      options.devices.push_back({device, MakeBackend(device).value()});
    }
    for (const Model& model : kModels) options.models.push_back(SpecOf(model));
    options.profile = MakeProfile();
    options.policy = MakeDispatchPolicy("edf", {}).value();
    options.max_waiting = 64;
    std::unique_ptr<Recorder> recorder;
    options.make_observer = [&](const EngineConfig& config) {
      EventLogHeader header;
      header.config = config;
      header.policy = "edf";
      header.start = SteadyClock().Now();
      recorder = Recorder::Start(LogFile(), header).value();
      return recorder.get();
    };
    std::unique_ptr<Node> node = Node::Start(std::move(options)).value();
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < kThreads; ++t) threads.emplace_back([&, t] { Send(*node, t); });
      threads.emplace_back([&] { ComeAndGo(*node); });
    }
    node.reset();
    ASSERT_TRUE(recorder->Close().ok());
    ASSERT_EQ(recorder->lost(), 0U);
  }

  // Applications, while requests are under way.
  static void ComeAndGo(Node& node) {
    for (int i = 0; i < kApplications; ++i) {
      ApplicationSpec spec;
      spec.name = "application-" + std::to_string(i);
      spec.model = kModels.front().name;
      spec.slo = microseconds(500);
      ASSERT_TRUE(node.AddApplication(spec));
      if (i % 2 == 1) continue;
      ASSERT_TRUE(node.RemoveApplication(spec.name, spec.model));
    }
  }

  // Each thread keeps a few requests under way, so that the run is as long as the work and no
  // longer.
  static void Send(Node& node, int thread) {
    struct Window final : ResponseSink {
      void OnResponse(InferResponse) override {
        --open;
        open.notify_one();
      }
      std::atomic<int> open = 0;
    };
    auto window = std::make_shared<Window>();
    RandomStream random(1, "arrivals/" + std::to_string(thread));
    for (int i = 0; i < kRequestsEach; ++i) {
      InferRequest request;
      request.model = node.FindModel(kModels.at(random.Below(kModels.size())).name, -1);
      if (const auto& known = request.model->applications; !known.empty()) {
        request.application = known[random.Below(known.size())].second;
      }
      request.rows = 1 + static_cast<std::uint32_t>(random.Below(2));
      Tensor x;
      x.name = "x";
      x.shape = {request.rows, 4};
      x.data = Buffer::Allocate(request.rows * 16).first;
      request.inputs.push_back(std::move(x));
      const std::uint64_t kind = random.Below(4);
      if (kind == 0) request.timeout = microseconds(100 + random.Below(2000));
      if (kind == 1) request.slo = microseconds(300 + random.Below(5000));
      const bool cancel = random.Below(20) == 0;
      for (int open = window->open; open >= 16; open = window->open) window->open.wait(open);
      ++window->open;
      const RequestId id = node.Submit(std::move(request), ResponseHandle(window));
      if (cancel) node.Cancel(id);
    }
  }

  static PolicyFactory Registry() {
    return [](const std::string& name, const std::map<std::string, std::string>& options) {
      return MakeDispatchPolicy(name, options);
    };
  }

  static TempFolder* folder_;
};

TempFolder* LiveReplay::folder_ = nullptr;

TEST_F(LiveReplay, GivesEveryDecisionAgain) {
  EventLogReader reader = EventLogReader::Open(LogFile()).value();
  const ReplayReport report = Replay(reader, Registry()).value();
  EXPECT_TRUE(report.exact());
  if (report.difference) {
    ADD_FAILURE() << report.difference->place << ": " << report.difference->event
                  << "\nrecorded: " << report.difference->recorded
                  << "\nreplayed: " << report.difference->replayed;
  }
  EXPECT_GE(report.decisions, static_cast<std::uint64_t>(kThreads * kRequestsEach));
}

TEST_F(LiveReplay, TheRunHeldWhatMakesReplayHard) {
  EventLogReader reader = EventLogReader::Open(LogFile()).value();
  std::uint64_t arrivals = 0;
  std::map<Outcome, std::uint64_t> ends;
  std::map<DeviceIndex, std::uint64_t> batches;
  for (;;) {
    const LogRecord* record = reader.Next().value();
    if (record == nullptr) break;
    if (record->kind != LogRecord::Kind::kEvent) continue;
    arrivals += record->event.kind == Event::Kind::kArrival ? 1 : 0;
    for (const Finish& finish : record->effects.finishes) ++ends[finish.outcome];
    for (const StartBatch& start : record->effects.starts) ++batches[start.device];
  }
  EXPECT_EQ(arrivals, static_cast<std::uint64_t>(kThreads * kRequestsEach));
  for (const Outcome outcome : kAllOutcomes) EXPECT_GT(ends[outcome], 0U) << ToString(outcome);
  EXPECT_EQ(batches.size(), 2U);
}

TEST_F(LiveReplay, OneMutatedInputIsFoundAndNamed) {
  EventLogReader reader = EventLogReader::Open(LogFile()).value();
  std::vector<LogRecord> records;
  std::uint64_t mutated = 0;
  for (;;) {
    const LogRecord* record = reader.Next().value();
    if (record == nullptr) break;
    if (record->kind != LogRecord::Kind::kEvent) continue;
    records.push_back(*record);
    Event& event = records.back().event;
    // A promise that was accepted becomes one that cannot be kept.
    const bool accepted = record->effects.finishes.empty();
    if (mutated == 0 && record->number > 5000 && accepted && event.kind == Event::Kind::kArrival &&
        event.arrival.slo > Duration(0)) {
      event.arrival.slo = Duration(1);
      mutated = record->number;
    }
  }
  ASSERT_GT(mutated, 0U);

  auto file = std::make_unique<std::istringstream>(EncodeLog(reader.header(), records));
  EventLogReader changed = EventLogReader::Read(std::move(file), "changed.log").value();
  const ReplayReport report = Replay(changed, Registry()).value();
  ASSERT_TRUE(report.difference.has_value());
  EXPECT_EQ(report.difference->number, mutated);
  EXPECT_NE(report.difference->place.find("changed.log"), std::string::npos);
  EXPECT_NE(report.difference->recorded, report.difference->replayed);
}

}  // namespace
}  // namespace duly
