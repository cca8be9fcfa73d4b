// SPDX-License-Identifier: Apache-2.0
#include "runtime/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <future>
#include <latch>
#include <mutex>
#include <set>
#include <thread>

#include "engine/event_observer.h"
#include "policy/registry.h"
#include "runtime/caching_node.h"
#include "runtime/timer_thread.h"

namespace duly {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A back end whose runs wait for a gate and answer with their input plus one.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = true;
  bool fail = false;
  int inside = 0;
  int most_inside = 0;
  std::vector<std::size_t> batches;
  std::set<std::thread::id> threads;

  void Set(bool to_open) {
    const std::lock_guard lock(mutex);
    open = to_open;
    changed.notify_all();
  }
  void AwaitInside(int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return inside >= count; });
  }
};

class FakeVariant final : public LoadedVariant {
 public:
  FakeVariant(Gate& gate, const ModelSpec& model)
      : gate_(gate), inputs_(model.inputs), outputs_(model.outputs) {}
  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }

  Status Run(std::span<RunItem> items, RunTimes&) override {
    {
      std::unique_lock lock(gate_.mutex);
      ++gate_.inside;
      gate_.most_inside = std::max(gate_.most_inside, gate_.inside);
      gate_.batches.push_back(items.size());
      gate_.threads.insert(std::this_thread::get_id());
      gate_.changed.notify_all();
      gate_.changed.wait(lock, [&] { return gate_.open; });
      --gate_.inside;
      if (gate_.fail) return Status(StatusCode::kInternal, "broken on purpose");
    }
    for (RunItem& item : items) {
      const Tensor& input = item.inputs.front();
      float value = 0;
      std::memcpy(&value, input.data.data().data(), sizeof(value));
      value += 1;
      Tensor output = input;
      output.name = "y";
      output.data = Buffer::CopyOf(std::as_bytes(std::span(&value, 1)));
      item.outputs.push_back(std::move(output));
    }
    return Status();
  }

 private:
  Gate& gate_;
  const std::vector<TensorSpec> inputs_;
  const std::vector<TensorSpec> outputs_;
};

class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(Gate& gate) : gate_(gate) {}
  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& variant) override {
    if (variant.file == "broken") return Error(StatusCode::kInvalidArgument, "not a model");
    return std::make_unique<FakeVariant>(gate_, model);
  }
  std::string description() const override { return "fake"; }

 private:
  Gate& gate_;
};

ModelSpec PlusOne(const std::string& name) {
  ModelSpec model;
  model.name = name;
  model.max_rows = 8;
  model.inputs.push_back({"x", DataType::kFp32, {-1, 1}});
  model.outputs.push_back({"y", DataType::kFp32, {-1, 1}});
  VariantSpec variant;
  variant.name = "default";
  model.variants.push_back(variant);
  return model;
}

VariantProfile OneMillisecond(const std::string& model) {
  VariantProfile profile;
  profile.model = model;
  profile.variant = "default";
  profile.device = "*";
  ProfilePoint one;
  one.rows = 1;
  one.mean = milliseconds(1);
  ProfilePoint eight;
  eight.rows = 8;
  eight.mean = milliseconds(2);
  profile.points = {one, eight};
  return profile;
}

class Answers final : public ResponseSink {
 public:
  void OnResponse(InferResponse response) override { promise_.set_value(std::move(response)); }
  // Fails the test when no answer comes within ten seconds.
  InferResponse Get() {
    std::future<InferResponse> future = promise_.get_future();
    if (future.wait_for(seconds(10)) != std::future_status::ready) {
      ADD_FAILURE() << "no answer";
      return InferResponse();
    }
    return future.get();
  }

 private:
  std::promise<InferResponse> promise_;
};

class NodeTest : public testing::Test {
 protected:
  NodeOptions Options(std::uint32_t slots, const std::string& policy = "edf") {
    NodeOptions options;
    NodeDevice device;
    device.spec.name = "cpu";
    device.spec.slots = slots;
    device.backend = std::make_unique<FakeBackend>(gate_);
    options.devices.push_back(std::move(device));
    options.models = {PlusOne("plus")};
    options.profile.variants = {OneMillisecond("plus"), OneMillisecond("other")};
    options.policy = MakeDispatchPolicy(policy, {}).value();
    return options;
  }
  void StartNode(NodeOptions options) {
    Result<std::unique_ptr<Node>> node = Node::Start(std::move(options));
    ASSERT_TRUE(node.has_value()) << node.error().message();
    node_ = std::move(*node);
    const std::lock_guard lock(gate_.mutex);
    gate_.batches.clear();
    gate_.threads.clear();
  }
  InferRequest Request(float value) {
    InferRequest request;
    request.model = node_->FindModel("plus", -1);
    Tensor x;
    x.name = "x";
    x.shape = {1, 1};
    x.data = Buffer::CopyOf(std::as_bytes(std::span(&value, 1)));
    request.inputs.push_back(std::move(x));
    return request;
  }
  std::pair<RequestId, std::shared_ptr<Answers>> Submit(InferRequest request) {
    auto answers = std::make_shared<Answers>();
    const RequestId id = node_->Submit(std::move(request), ResponseHandle(answers));
    return {id, answers};
  }
  // Occupies one slot until the gate opens.
  std::shared_ptr<Answers> Occupy() {
    gate_.Set(false);
    std::shared_ptr<Answers> answers = Submit(Request(0)).second;
    gate_.AwaitInside(1);
    return answers;
  }

  Gate gate_;
  std::unique_ptr<Node> node_;
};

float ValueOf(const InferResponse& response) {
  float value = 0;
  if (response.outputs.size() == 1) {
    std::memcpy(&value, response.outputs[0].data.data().data(), sizeof(value));
  }
  return value;
}

TEST_F(NodeTest, AnswersWithTheOutputsAndAReport) {
  StartNode(Options(1));
  const InferResponse response = Submit(Request(41)).second->Get();
  EXPECT_EQ(response.outcome, Outcome::kOnTime);
  EXPECT_EQ(ValueOf(response), 42);
  EXPECT_EQ(response.report.device, "cpu");
  EXPECT_EQ(response.report.variant, "default");
  EXPECT_EQ(response.report.batch_rows, 1U);
}

TEST_F(NodeTest, BatchesWhatWaitsTogether) {
  StartNode(Options(1));
  const std::shared_ptr<Answers> first = Occupy();
  std::vector<std::shared_ptr<Answers>> others;
  for (int i = 1; i <= 5; ++i) others.push_back(Submit(Request(static_cast<float>(i))).second);
  gate_.Set(true);
  EXPECT_EQ(ValueOf(first->Get()), 1);
  for (int i = 1; i <= 5; ++i) {
    const InferResponse response = others.at(static_cast<std::size_t>(i - 1))->Get();
    EXPECT_EQ(ValueOf(response), static_cast<float>(i + 1));
    EXPECT_EQ(response.report.batch_rows, 5U);
  }
  EXPECT_THAT(gate_.batches, testing::ElementsAre(1, 5));
}

TEST_F(NodeTest, ExpiresByTimerWhileABatchRuns) {
  StartNode(Options(1));
  const std::shared_ptr<Answers> first = Occupy();
  InferRequest request = Request(1);
  request.timeout = milliseconds(5);
  const TimePoint before = node_->Now();
  const InferResponse expired = Submit(std::move(request)).second->Get();
  EXPECT_EQ(expired.outcome, Outcome::kExpired);
  EXPECT_GE(node_->Now() - before, milliseconds(5));
  EXPECT_GE(expired.report.queue, milliseconds(5));
  gate_.Set(true);
  EXPECT_EQ(first->Get().outcome, Outcome::kOnTime);
}

TEST_F(NodeTest, AnUrgentRequestGoesFirst) {
  NodeOptions options = Options(1, "fifo");
  options.models[0].dynamic_batching.emplace();
  options.models[0].dynamic_batching->levels.resize(2);
  options.models[0].dynamic_batching->default_level = 2;
  StartNode(std::move(options));
  const std::shared_ptr<Answers> first = Occupy();
  const TimePoint before = node_->Now();
  const std::shared_ptr<Answers> usual = Submit(Request(1)).second;
  InferRequest request = Request(2);
  request.priority = 1;
  const std::shared_ptr<Answers> urgent = Submit(std::move(request)).second;
  const TimePoint waiting = node_->Now();
  gate_.Set(true);
  const InferReport one = first->Get().report;
  const InferReport two = urgent->Get().report;
  const InferReport three = usual->Get().report;
  // Each starts when the one before it ends.
  EXPECT_EQ(two.ended - two.compute, one.ended);
  EXPECT_EQ(three.ended - three.compute, two.ended);
  EXPECT_GT(three.ended - three.compute - three.queue, before);
  EXPECT_LT(two.ended - two.compute - two.queue, waiting);
}

TEST_F(NodeTest, RefusesAtOnceWhatCannotBeKept) {
  StartNode(Options(1));
  const std::shared_ptr<Answers> first = Occupy();
  InferRequest request = Request(1);
  request.slo = microseconds(1);
  const InferResponse refused = Submit(std::move(request)).second->Get();
  EXPECT_EQ(refused.outcome, Outcome::kRejected);
  EXPECT_EQ(refused.reason, RejectReason::kPredictedLate);
  gate_.Set(true);
  first->Get();
}

TEST_F(NodeTest, CancelEndsAWaitAtOnceAndARunWhenItsBatchEnds) {
  StartNode(Options(1));
  gate_.Set(false);
  const auto [running, running_answers] = Submit(Request(0));
  gate_.AwaitInside(1);
  const auto [waiting, waiting_answers] = Submit(Request(1));
  node_->Cancel(waiting);
  EXPECT_EQ(waiting_answers->Get().outcome, Outcome::kCancelled);
  node_->Cancel(running);
  EXPECT_EQ(node_->LiveRequests(), 1U);
  gate_.Set(true);
  EXPECT_EQ(running_answers->Get().outcome, Outcome::kCancelled);
  node_->Cancel(running);  // gone: no effect
}

TEST_F(NodeTest, ABackEndsFailureIsTheAnswerOfItsBatchOnly) {
  StartNode(Options(1));
  {
    const std::lock_guard lock(gate_.mutex);
    gate_.fail = true;
  }
  const InferResponse failed = Submit(Request(1)).second->Get();
  EXPECT_EQ(failed.outcome, Outcome::kFailed);
  EXPECT_EQ(failed.status.message(), "broken on purpose");
  {
    const std::lock_guard lock(gate_.mutex);
    gate_.fail = false;
  }
  EXPECT_EQ(Submit(Request(1)).second->Get().outcome, Outcome::kOnTime);
}

TEST_F(NodeTest, ShortRunsStayOnTheThreadThatBroughtThem) {
  NodeOptions options = Options(1);
  options.inline_below = seconds(1);
  StartNode(std::move(options));
  EXPECT_EQ(Submit(Request(1)).second->Get().outcome, Outcome::kOnTime);
  EXPECT_THAT(gate_.threads, testing::ElementsAre(std::this_thread::get_id()));
}

TEST_F(NodeTest, LongRunsGoToTheSlotsOwnThread) {
  StartNode(Options(1));
  EXPECT_EQ(Submit(Request(1)).second->Get().outcome, Outcome::kOnTime);
  EXPECT_THAT(gate_.threads, testing::Not(testing::Contains(std::this_thread::get_id())));
}

TEST_F(NodeTest, DrainRefusesTheNewAndServesTheOld) {
  StartNode(Options(1));
  const std::shared_ptr<Answers> old = Occupy();
  node_->Drain();
  const InferResponse refused = Submit(Request(1)).second->Get();
  EXPECT_EQ(refused.outcome, Outcome::kRejected);
  EXPECT_EQ(refused.reason, RejectReason::kShuttingDown);
  gate_.Set(true);
  EXPECT_EQ(old->Get().outcome, Outcome::kOnTime);
}

TEST_F(NodeTest, FindsModelsByNameAndVersion) {
  NodeOptions options = Options(1);
  ModelSpec second = PlusOne("plus");
  second.version = 3;
  options.models.push_back(second);
  options.models.push_back(PlusOne("other"));
  ApplicationSpec application;
  application.name = "camera";
  application.model = "plus";
  options.applications.push_back(application);
  StartNode(std::move(options));
  EXPECT_EQ(node_->FindModel("plus", -1)->spec.version, 3);
  EXPECT_EQ(node_->FindModel("plus", 1)->spec.version, 1);
  EXPECT_EQ(node_->FindModel("plus", 2), nullptr);
  EXPECT_EQ(node_->FindModel("missing", -1), nullptr);
  EXPECT_NE(node_->FindModel("plus", -1)->FindApplication("camera"), kNoIndex);
  EXPECT_EQ(node_->FindModel("other", -1)->FindApplication("camera"), kNoIndex);
}

// Waits, at most ten seconds, until nothing is on its way out any more.
void AwaitLeft(const Node& node) {
  const TimePoint end = node.Now() + seconds(10);
  while (!node.Leaving().empty() && node.Now() < end) std::this_thread::yield();
  EXPECT_THAT(node.Leaving(), testing::IsEmpty());
}

ModelSpec PlusOneVersion(std::int64_t version) {
  ModelSpec model = PlusOne("plus");
  model.version = version;
  return model;
}

TEST_F(NodeTest, LoadPutsTheNewVersionsInThePlaceOfTheOld) {
  StartNode(Options(1));
  ASSERT_TRUE(node_->Load({PlusOneVersion(2), PlusOneVersion(3)}, LoadOrder::kLoadFirst).ok());
  EXPECT_EQ(node_->FindModel("plus", 1), nullptr);
  EXPECT_EQ(node_->FindModel("plus", -1)->spec.version, 3);
  EXPECT_EQ(node_->Models().size(), 2U);
  AwaitLeft(*node_);
  EXPECT_EQ(ValueOf(Submit(Request(41)).second->Get()), 42);
}

TEST_F(NodeTest, ARequestKeepsTheGenerationThatItFound) {
  StartNode(Options(1));
  const std::shared_ptr<Answers> running = Occupy();
  const std::shared_ptr<Answers> waiting = Submit(Request(1)).second;
  InferRequest not_yet_submitted = Request(2);
  // With the gate shut the new one is not warmed up.
  ModelSpec version = PlusOneVersion(2);
  version.warmup_runs = 0;
  ASSERT_TRUE(node_->Load({version}, LoadOrder::kLoadFirst).ok());
  EXPECT_THAT(node_->Leaving(), testing::ElementsAre(ModelVersion{"plus", 1}));
  const std::shared_ptr<Answers> late = Submit(std::move(not_yet_submitted)).second;
  EXPECT_EQ(node_->Stats().models[0].waiting, 2U);
  EXPECT_EQ(node_->Stats().models[1].waiting, 0U);
  gate_.Set(true);
  EXPECT_EQ(running->Get().outcome, Outcome::kOnTime);
  EXPECT_EQ(waiting->Get().outcome, Outcome::kOnTime);
  EXPECT_EQ(late->Get().outcome, Outcome::kOnTime);
  AwaitLeft(*node_);
}

TEST_F(NodeTest, AFailedLoadLeavesWhatThereIs) {
  StartNode(Options(1));
  ModelSpec broken = PlusOneVersion(3);
  broken.variants.front().file = "broken";
  const Status status = node_->Load({PlusOneVersion(2), broken}, LoadOrder::kLoadFirst);
  EXPECT_THAT(status.message(), testing::HasSubstr("version 3, variant 'default': not a model"));
  EXPECT_EQ(node_->FindModel("plus", -1)->spec.version, 1);
  EXPECT_THAT(node_->Leaving(), testing::IsEmpty());
  EXPECT_EQ(ValueOf(Submit(Request(1)).second->Get()), 2);
}

TEST_F(NodeTest, UnloadAnswersWhatWasAcceptedAndFreesThen) {
  StartNode(Options(1));
  const std::shared_ptr<Answers> running = Occupy();
  const std::shared_ptr<Answers> waiting = Submit(Request(1)).second;
  EXPECT_TRUE(node_->Unload("plus"));
  EXPECT_FALSE(node_->Unload("plus"));
  EXPECT_EQ(node_->FindModel("plus", -1), nullptr);
  EXPECT_THAT(node_->Leaving(), testing::ElementsAre(ModelVersion{"plus", 1}));
  gate_.Set(true);
  EXPECT_EQ(ValueOf(running->Get()), 1);
  EXPECT_EQ(ValueOf(waiting->Get()), 2);
  AwaitLeft(*node_);
  ASSERT_TRUE(node_->Load({PlusOneVersion(1)}, LoadOrder::kLoadFirst).ok());
  EXPECT_EQ(ValueOf(Submit(Request(1)).second->Get()), 2);
}

TEST_F(NodeTest, UnloadFirstWaitsUntilTheOldOneIsFreed) {
  StartNode(Options(1));
  const std::shared_ptr<Answers> running = Occupy();
  std::future<Status> load = std::async(std::launch::async, [&] {
    return node_->Load({PlusOneVersion(2)}, LoadOrder::kUnloadFirst);
  });
  while (node_->FindModel("plus", -1) != nullptr) std::this_thread::yield();
  gate_.Set(true);
  EXPECT_EQ(running->Get().outcome, Outcome::kOnTime);
  EXPECT_TRUE(load.get().ok());
  EXPECT_THAT(node_->Leaving(), testing::IsEmpty());
  EXPECT_EQ(node_->FindModel("plus", -1)->spec.version, 2);
}

TEST_F(NodeTest, NothingGrowsWithLoadsAndUnloads) {
  StartNode(Options(1));
  for (std::int64_t i = 2; i < 200; ++i) {
    ASSERT_TRUE(node_->Load({PlusOneVersion(i)}, LoadOrder::kLoadFirst).ok());
    EXPECT_EQ(ValueOf(Submit(Request(1)).second->Get()), 2);
    AwaitLeft(*node_);
  }
  EXPECT_LE(node_->Stats().models.size(), 2U);
  EXPECT_EQ(node_->Stats().applications.size(), 1U);
}

ApplicationSpec Camera(Duration slo) {
  ApplicationSpec spec;
  spec.name = "camera";
  spec.model = "plus";
  spec.slo = slo;
  return spec;
}

TEST_F(NodeTest, AnApplicationThatComesLaterIsServedUnderItsTerms) {
  StartNode(Options(1));
  const auto index = node_->AddApplication(Camera(microseconds(1)));
  ASSERT_TRUE(index);
  EXPECT_EQ(node_->AddApplication(Camera(seconds(1))).error().code(), StatusCode::kAlreadyExists);
  InferRequest request = Request(1);
  request.application = request.model->FindApplication("camera");
  EXPECT_EQ(request.application, *index);
  // It takes 1 ms and has 1 us.
  EXPECT_EQ(Submit(std::move(request)).second->Get().outcome, Outcome::kRejected);
  EXPECT_EQ(Submit(Request(1)).second->Get().outcome, Outcome::kOnTime);
  const EngineStats stats = node_->Stats();
  ASSERT_EQ(stats.applications.size(), 2U);
  EXPECT_EQ(stats.applications[*index].name, "camera");
  EXPECT_EQ(stats.applications[*index].outcomes.at(static_cast<std::size_t>(Outcome::kRejected)),
            1U);
  ApplicationSpec other = Camera(seconds(1));
  other.model = "minus";
  EXPECT_EQ(node_->AddApplication(other).error().code(), StatusCode::kNotFound);
}

TEST_F(NodeTest, ApplicationsComeAndGoWhileModelsDo) {
  StartNode(Options(1));
  ASSERT_TRUE(node_->AddApplication(Camera(seconds(1))));
  const std::shared_ptr<const ServedModel> held = node_->FindModel("plus", -1);
  EXPECT_TRUE(node_->RemoveApplication("camera", "plus"));
  EXPECT_FALSE(node_->RemoveApplication("camera", "plus"));
  EXPECT_EQ(node_->FindModel("plus", -1)->FindApplication("camera"), kNoIndex);
  EXPECT_NE(held->FindApplication("camera"), kNoIndex);
  // The same terms again: the same statistics.
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(node_->AddApplication(Camera(seconds(1))).value(), 1U);
    EXPECT_TRUE(node_->RemoveApplication("camera", "plus"));
  }
  EXPECT_EQ(node_->Stats().applications.size(), 2U);
  EXPECT_EQ(node_->AddApplication(Camera(seconds(2))).value(), 2U);

  ASSERT_TRUE(node_->Load({PlusOneVersion(2)}, LoadOrder::kLoadFirst).ok());
  EXPECT_EQ(node_->FindModel("plus", -1)->FindApplication("camera"), 2U);
  // What was held before it left keeps the generation loaded.
  EXPECT_EQ(node_->Leaving().size(), 1U);
  InferRequest late = Request(1);
  late.model = held;
  EXPECT_EQ(ValueOf(Submit(std::move(late)).second->Get()), 2);
}

TEST_F(NodeTest, SaysHowLongItsModelsTake) {
  StartNode(Options(2));
  const std::vector<NodeService> services = node_->Services();
  ASSERT_EQ(services.size(), 1U);
  EXPECT_EQ(services[0].model, "plus");
  EXPECT_EQ(services[0].instances, 2U);
  EXPECT_EQ(services[0].mean, milliseconds(1));
  EXPECT_EQ(services[0].cv2, 0);
}

TEST_F(NodeTest, ReloadsUnderLoadLoseNothing) {
  StartNode(Options(2));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      while (!stop) {
        const InferResponse response = Submit(Request(1)).second->Get();
        if (response.outcome != Outcome::kOnTime || ValueOf(response) != 2) ++wrong;
      }
    });
  }
  for (std::int64_t i = 2; i < 50; ++i) {
    ASSERT_TRUE(node_->Load({PlusOneVersion(i)}, LoadOrder::kLoadFirst).ok());
  }
  stop = true;
  clients.clear();
  EXPECT_EQ(wrong, 0);
  AwaitLeft(*node_);
}

TEST_F(NodeTest, EveryFaultOfEveryModelIsListed) {
  NodeOptions options = Options(1);
  options.models.front().variants.front().file = "broken";
  options.models.push_back(PlusOne("other"));
  options.models.back().variants.front().file = "broken";
  const Result<std::unique_ptr<Node>> node = Node::Start(std::move(options));
  ASSERT_FALSE(node.has_value());
  EXPECT_THAT(node.error().message(), testing::AllOf(testing::HasSubstr("model 'plus'"),
                                                     testing::HasSubstr("model 'other'")));
}

// Counts what enters and leaves, as a recorder would see it.
class Tally final : public EventObserver {
 public:
  void OnEvent(TimePoint now, const Event& event, const Effects& effects) override {
    if (now < last_) backwards = true;
    last_ = now;
    arrivals += event.kind == Event::Kind::kArrival ? 1 : 0;
    finishes += effects.finishes.size();
  }
  std::size_t arrivals = 0;
  std::size_t finishes = 0;
  bool backwards = false;

 private:
  TimePoint last_{};
};

TEST_F(NodeTest, ManyThreadsGetExactlyOneAnswerEach) {
  Tally tally;
  NodeOptions options = Options(2);
  options.make_observer = [&](const EngineConfig&) { return &tally; };
  options.inline_below = microseconds(500);
  StartNode(std::move(options));
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  struct Counter final : ResponseSink {
    void OnResponse(InferResponse) override { ++count; }
    std::atomic<int> count = 0;
  };
  auto counter = std::make_shared<Counter>();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          InferRequest request = Request(static_cast<float>(i));
          if (i % 3 == 0) request.timeout = microseconds(200);
          if (i % 5 == 0) request.slo = milliseconds(2);
          const RequestId id = node_->Submit(std::move(request), ResponseHandle(counter));
          if (i % 7 == t) node_->Cancel(id);
        }
      });
    }
  }
  node_.reset();  // waits for the answers
  EXPECT_EQ(counter->count, kThreads * kEach);
  EXPECT_EQ(tally.arrivals, static_cast<std::size_t>(kThreads * kEach));
  EXPECT_EQ(tally.finishes, tally.arrivals);
  EXPECT_FALSE(tally.backwards);
  EXPECT_LE(gate_.most_inside, 2);
}

TEST(ResponseHandle, DestroyedUnansweredItAnswersWithAFailure) {
  auto answers = std::make_shared<Answers>();
  { const ResponseHandle handle(answers); }
  const InferResponse response = answers->Get();
  EXPECT_EQ(response.outcome, Outcome::kFailed);
  EXPECT_EQ(response.status.code(), StatusCode::kInternal);
}

TEST(TimerThread, CallsBackForTheEarliestTime) {
  std::latch called(1);
  std::atomic<bool> done = false;
  TimerThread timer([&] {
    if (!done.exchange(true)) called.count_down();
  });
  timer.Arm(FromNanos(std::numeric_limits<std::int64_t>::max() - 1));
  timer.Arm(FromNanos(0));
  called.wait();
  EXPECT_TRUE(done);
}

class CachingNodeTest : public NodeTest {
 protected:
  void SetUp() override {
    NodeOptions options = Options(1);
    options.models[0].response_cache = true;
    StartNode(std::move(options));
    node_ = MakeCachingNode(std::move(node_), 1 << 20);
  }
  InferResponse Infer(float value) { return Submit(Request(value)).second->Get(); }
  std::size_t Runs() {
    const std::lock_guard lock(gate_.mutex);
    return gate_.batches.size();
  }
};

TEST_F(CachingNodeTest, AnswersASecondTimeWithoutARun) {
  const InferResponse first = Infer(1);
  EXPECT_EQ(first.outcome, Outcome::kOnTime);
  EXPECT_FALSE(first.report.cached);
  const auto waiting = Occupy();
  const InferResponse second = Infer(1);  // does not wait for the slot
  EXPECT_EQ(second.outcome, Outcome::kOnTime);
  EXPECT_EQ(ValueOf(second), 2);
  EXPECT_TRUE(second.report.cached);
  EXPECT_EQ(second.report.variant, "default");
  EXPECT_EQ(second.report.device, "cpu");
  EXPECT_EQ(second.report.compute, Duration(0));
  gate_.Set(true);
  waiting->Get();
  EXPECT_EQ(ValueOf(Infer(2)), 3);
  EXPECT_EQ(Runs(), 3U);

  const EngineStats stats = node_->Stats();
  const ModelStats& model = stats.models[node_->FindModel("plus", -1)->generation];
  EXPECT_EQ(model.cache_hit.count, 1U);
  EXPECT_EQ(model.cache_miss.count, 3U);
  EXPECT_EQ(model.success.count(), 4U);
  EXPECT_EQ(model.queue.count(), 4U);
  EXPECT_EQ(model.compute_infer.count(), 3U);
  EXPECT_EQ(model.inference_count, 3U);
  EXPECT_EQ(model.variant_requests.at(0), 4U);
  EXPECT_EQ(stats.applications.at(0).response_time.count(), 4U);
  EXPECT_EQ(stats.applications.at(0).outcomes.at(static_cast<std::size_t>(Outcome::kOnTime)), 4U);
}

TEST_F(CachingNodeTest, AReloadedModelAnswersForItself) {
  Infer(1);
  ModelSpec again = PlusOne("plus");
  again.response_cache = true;
  ASSERT_TRUE(node_->Load({again}, LoadOrder::kLoadFirst).ok());
  const std::size_t runs = Runs();  // warming up is one, too
  EXPECT_FALSE(Infer(1).report.cached);
  EXPECT_EQ(Runs(), runs + 1);
  EXPECT_TRUE(Infer(1).report.cached);
  const EngineStats stats = node_->Stats();
  const ModelStats& model = stats.models[node_->FindModel("plus", -1)->generation];
  EXPECT_EQ(model.cache_hit.count, 1U);
  EXPECT_EQ(model.cache_miss.count, 1U);
}

TEST_F(CachingNodeTest, FailuresAreNotKept) {
  {
    const std::lock_guard lock(gate_.mutex);
    gate_.fail = true;
  }
  EXPECT_EQ(Infer(1).outcome, Outcome::kFailed);
  {
    const std::lock_guard lock(gate_.mutex);
    gate_.fail = false;
  }
  EXPECT_EQ(ValueOf(Infer(1)), 2);
  EXPECT_TRUE(Infer(1).report.cached);
}

TEST_F(CachingNodeTest, ADrainingNodeRefusesWhatItCouldAnswer) {
  Infer(1);
  node_->Drain();
  EXPECT_EQ(Infer(1).outcome, Outcome::kRejected);
}

TEST_F(CachingNodeTest, ModelsThatDoNotAskForItAreComputed) {
  ASSERT_TRUE(node_->Load({PlusOne("plus")}, LoadOrder::kLoadFirst).ok());
  const std::size_t runs = Runs();
  Infer(1);
  EXPECT_FALSE(Infer(1).report.cached);
  EXPECT_EQ(Runs(), runs + 2);
  EXPECT_EQ(node_->Stats().models[node_->FindModel("plus", -1)->generation].cache_miss.count, 0U);
}

}  // namespace
}  // namespace duly
