// SPDX-License-Identifier: Apache-2.0
#include "runtime/node.h"

#include <fmt/format.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <map>
#include <optional>
#include <semaphore>
#include <thread>
#include <tuple>
#include <utility>

#include "base/fault.h"
#include "base/log.h"
#include "base/mutex.h"
#include "engine/application.h"
#include "runtime/model_loader.h"
#include "runtime/steady_clock.h"
#include "runtime/timer_thread.h"

namespace duly {
namespace {

// What the engine never sees of a request.
struct Pending {
  InferRequest request;
  ResponseHandle response;
};

// Everything that one entry into the monitor leaves to be done outside of it. Reused per thread.
struct Turn {
  Effects effects;
  // Beside effects.finishes: the payloads of those that never started; null for those of a batch.
  std::vector<std::unique_ptr<Pending>> ended;
  TimePoint now{};  // of the event
  TimePoint arm_timer = kNever;

  void Clear() {
    effects.Clear();
    ended.clear();
    arm_timer = kNever;
  }
};

// A place where one batch runs at a time. `job` belongs to whoever runs it, from the start that the
// engine decided until the batch is reported done; it is filled under the node's lock.
struct SlotState {
  struct Job {
    std::uint32_t batch = 0;
    LoadedVariant* variant = nullptr;
    std::vector<std::unique_ptr<Pending>> members;
  };
  Job job;
  std::binary_semaphore ready{0};
  std::jthread thread;
};

struct DeviceState {
  // [generation][variant], null where not placed. Guarded by the node's lock.
  std::vector<std::vector<std::unique_ptr<LoadedVariant>>> loaded;
  std::vector<std::unique_ptr<SlotState>> slots;
};

// Generations that are out of service and have no requests any more. Told by whoever drops the last
// reference to such a one, maybe after the node is gone.
class Unused {
 public:
  void Add(GenerationIndex generation) {
    const MutexLock lock(mutex_);
    generations_.push_back(generation);
    changed_.notify_all();
  }
  // Waits for one; nothing once it was asked to stop.
  std::optional<GenerationIndex> Take(const std::stop_token& stop) {
    const MutexLock lock(mutex_);
    while (generations_.empty()) {
      if (!changed_.wait(mutex_, stop,
                         [this]() DULY_REQUIRES(mutex_) { return !generations_.empty(); })) {
        return std::nullopt;
      }
    }
    const GenerationIndex generation = generations_.back();
    generations_.pop_back();
    return generation;
  }

 private:
  Mutex mutex_;
  std::vector<GenerationIndex> generations_ DULY_GUARDED_BY(mutex_);
  std::condition_variable_any changed_;
};

class LiveNode final : public Node {
 public:
  explicit LiveNode(NodeOptions options) : options_(std::move(options)) {}
  ~LiveNode() override;

  Status LoadAll();
  void StartThreads();

  std::shared_ptr<const ServedModel> FindModel(std::string_view name,
                                               std::int64_t version) const override;
  std::vector<std::shared_ptr<const ServedModel>> Models() const override;
  Status Load(std::vector<ModelSpec> versions, LoadOrder order) override;
  bool Unload(std::string_view name) override;
  std::vector<ModelVersion> Leaving() const override;
  std::vector<NodeService> Services() const override;
  Result<ApplicationIndex> AddApplication(const ApplicationSpec& spec) override;
  bool RemoveApplication(const std::string& name, const std::string& model) override;
  RequestId Submit(InferRequest request, ResponseHandle response) override;
  void Cancel(RequestId id) override;
  void Drain() override;
  std::size_t LiveRequests() const override;
  EngineStats Stats() const override;
  TimePoint Now() const override { return clock_.Now(); }

 private:
  using ModelList = std::vector<std::shared_ptr<const ServedModel>>;

  // The applications that may send to the model, by name; its default one is new to the node if it
  // is in `added`.
  std::vector<std::pair<std::string, ApplicationIndex>> ApplicationsOf(
      const std::string& model, std::vector<Application>& added) DULY_REQUIRES(control_);
  std::shared_ptr<const ServedModel> MakeServed(LoadedModel& loaded, GenerationIndex index,
                                                std::vector<Application>& added)
      DULY_REQUIRES(control_);
  // Tells the engine of it; it takes requests from then on.
  std::shared_ptr<const ServedModel> Install(LoadedModel loaded) DULY_REQUIRES(control_);
  GenerationIndex TakeGenerationIndex() DULY_REQUIRES(control_);
  // Tells the engine of one more; its index.
  ApplicationIndex TellApplication(const ApplicationSpec& spec) DULY_REQUIRES(control_);
  // The versions of the model that are served, with the applications that it has now.
  void RefreshApplications(const std::string& model) DULY_REQUIRES(control_);
  // An event that is neither of a request nor of a batch.
  void Tell(const Event& event);
  // Puts `now` in the place of all versions of that name; gives those that were there.
  ModelList Replace(std::string_view name, ModelList now);
  void FreeUnused(const std::stop_token& stop);

  // Enters the monitor. `arriving` is the payload of a kArrival event.
  void Enter(const Event& event, std::unique_ptr<Pending> arriving, Turn& turn);
  // What follows under the lock from the effects of one event: payloads change hands.
  void Collect(TimePoint now, const Event& event, std::unique_ptr<Pending> arriving, Turn& turn)
      DULY_REQUIRES(mutex_);
  // Answers those that never started and arms the timer.
  void PostEnded(Turn& turn);
  // Runs the slot's job and reports it. Leaves in `turn` what follows.
  void RunJob(DeviceIndex device, std::uint32_t slot, Turn& turn);
  void Answer(Pending& pending, const Finish& finish, TimePoint ended, const RunTimes& times,
              Status status, std::vector<Tensor> outputs);
  // Hands every start of the turn to its executor, but for the one of `own` (returns true then).
  bool HandOver(const Turn& turn, const SlotState* own);
  // After an event that an I/O thread or the timer brought.
  void FollowUp(Turn& turn);
  void ExecutorLoop(const std::stop_token& stop, DeviceIndex device, std::uint32_t slot);
  void OnTimer();

  NodeOptions options_;
  const SteadyClock clock_;
  std::vector<DeviceState> devices_;  // beside options_.devices
  EventObserver* observer_ = nullptr;

  mutable Mutex mutex_;
  std::unique_ptr<Engine> engine_ DULY_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Pending>> waiting_ DULY_GUARDED_BY(mutex_);  // by request index
  TimePoint timer_armed_ DULY_GUARDED_BY(mutex_) = kNever;
  bool closing_ DULY_GUARDED_BY(mutex_) = false;
  std::condition_variable_any idle_;  // closing_ and no live requests

  Mutex control_;  // loads and unloads, one at a time
  std::map<std::pair<std::string, std::string>, ApplicationIndex> applications_
      DULY_GUARDED_BY(control_);  // by name and model
  ApplicationIndex application_count_ DULY_GUARDED_BY(control_) = 0;
  std::vector<std::pair<ApplicationSpec, ApplicationIndex>> added_ DULY_GUARDED_BY(control_);
  GenerationIndex generations_ DULY_GUARDED_BY(control_) = 0;

  mutable Mutex models_mutex_;
  ModelList models_ DULY_GUARDED_BY(models_mutex_);  // by name, then version
  std::map<GenerationIndex, ModelVersion> leaving_ DULY_GUARDED_BY(models_mutex_);
  std::vector<GenerationIndex> free_generations_ DULY_GUARDED_BY(models_mutex_);
  std::condition_variable_any left_;  // leaving_ has become smaller

  const std::shared_ptr<Unused> unused_ = std::make_shared<Unused>();
  std::unique_ptr<TimerThread> timer_;
  std::jthread unloader_;
};

// Whether the engine could not tell them apart.
bool HaveSameTerms(const ApplicationSpec& a, const ApplicationSpec& b) {
  const auto terms = [](const ApplicationSpec& spec) {
    return std::tie(spec.name, spec.model, spec.weight, spec.slo, spec.timeout, spec.on_miss,
                    spec.min_accuracy_pct, spec.accuracy_budget);
  };
  return terms(a) == terms(b);
}

Turn& ThreadTurn() {
  thread_local Turn turn;
  turn.Clear();
  return turn;
}

Status LiveNode::LoadAll() {
  EngineConfig config;
  for (const NodeDevice& device : options_.devices) {
    config.devices.push_back({device.spec.name, device.spec.slots});
  }
  devices_.resize(options_.devices.size());
  config.max_waiting = options_.max_waiting;
  std::ranges::sort(options_.models, [](const ModelSpec& a, const ModelSpec& b) {
    return std::tie(a.name, a.version) < std::tie(b.name, b.version);
  });

  const MutexLock control(control_);
  for (const ApplicationSpec& spec : options_.applications) {
    applications_.emplace(std::pair(spec.name, spec.model), application_count_++);
    config.applications.push_back(MakeApplication(spec));
  }
  Faults faults;
  for (ModelSpec& spec : options_.models) {
    Result<LoadedModel> loaded = LoadModel(std::move(spec), options_, faults);
    if (!loaded) continue;
    const auto index = static_cast<GenerationIndex>(config.generations.size());
    std::vector<Application> added;
    auto served = MakeServed(*loaded, index, added);
    config.generations.push_back(std::move(loaded->generation));
    std::ranges::move(added, std::back_inserter(config.applications));
    for (DeviceIndex d = 0; d < devices_.size(); ++d) {
      devices_[d].loaded.push_back(std::move(loaded->by_device[d]));
    }
    const MutexLock lock(models_mutex_);
    models_.push_back(std::move(served));
  }
  options_.models.clear();
  generations_ = static_cast<GenerationIndex>(config.generations.size());
  if (Status status = faults.ToStatus(); !status.ok()) return status;

  if (options_.make_observer) observer_ = options_.make_observer(config);
  const MutexLock lock(mutex_);
  engine_ = std::make_unique<Engine>(std::move(config), std::move(options_.policy));
  return Status();
}

std::vector<std::pair<std::string, ApplicationIndex>> LiveNode::ApplicationsOf(
    const std::string& model, std::vector<Application>& added) {
  // The default application carries the model's name, whatever its version.
  if (applications_.emplace(std::pair(model, model), application_count_).second) {
    ++application_count_;
    added.emplace_back().name = model;
  }
  std::vector<std::pair<std::string, ApplicationIndex>> found;
  for (const auto& [key, index] : applications_) {
    if (key.second == model) found.emplace_back(key.first, index);
  }
  return found;
}

std::shared_ptr<const ServedModel> LiveNode::MakeServed(LoadedModel& loaded, GenerationIndex index,
                                                        std::vector<Application>& added) {
  auto model = std::make_shared<ServedModel>();
  model->spec = std::move(loaded.spec);
  model->generation = index;
  model->use = std::shared_ptr<const void>(
      nullptr, [unused = unused_, index](const void*) { unused->Add(index); });
  model->applications = ApplicationsOf(model->spec.name, added);
  loaded.generation.default_application = model->FindApplication(model->spec.name);
  return model;
}

GenerationIndex LiveNode::TakeGenerationIndex() {
  const MutexLock lock(models_mutex_);
  if (free_generations_.empty()) return generations_++;
  const GenerationIndex index = free_generations_.back();
  free_generations_.pop_back();
  return index;
}

void LiveNode::Tell(const Event& event) {
  Turn& turn = ThreadTurn();
  {
    const MutexLock lock(mutex_);
    const TimePoint now = clock_.Now();
    engine_->Handle(now, event, turn.effects);
    Collect(now, event, nullptr, turn);
  }
  FollowUp(turn);
}

// The engine learns of applications with the generations that they send to. One that comes later
// is brought by a generation that runs nowhere and leaves at once: the event log needs no other
// kind of event, and replays it.
ApplicationIndex LiveNode::TellApplication(const ApplicationSpec& spec) {
  GenerationLoad load;
  load.index = TakeGenerationIndex();
  load.generation.model = spec.model;
  load.generation.variants.emplace_back().name = spec.name;
  load.generation.default_application = application_count_;
  load.applications.push_back(MakeApplication(spec));
  Event event;
  event.kind = Event::Kind::kLoad;
  event.load = &load;
  Tell(event);
  event.kind = Event::Kind::kUnload;
  event.load = nullptr;
  event.generation = load.index;
  Tell(event);
  const MutexLock lock(models_mutex_);
  free_generations_.push_back(load.index);
  return application_count_++;
}

void LiveNode::RefreshApplications(const std::string& name) {
  std::vector<Application> none;
  const auto applications = ApplicationsOf(name, none);
  const MutexLock lock(models_mutex_);
  for (auto& model : models_) {
    if (model->spec.name != name) continue;
    auto changed = std::make_shared<ServedModel>(*model);
    changed->applications = applications;
    model = std::move(changed);
  }
}

Result<ApplicationIndex> LiveNode::AddApplication(const ApplicationSpec& spec) {
  const MutexLock control(control_);
  if (FindModel(spec.model, -1) == nullptr) {
    return Error(StatusCode::kNotFound, "no model named '{}' is served", spec.model);
  }
  const std::pair key(spec.name, spec.model);
  if (applications_.contains(key)) {
    return Error(StatusCode::kAlreadyExists, "model '{}' has an application '{}'", spec.model,
                 spec.name);
  }
  const auto before = std::ranges::find_if(
      added_, [&](const auto& entry) { return HaveSameTerms(entry.first, spec); });
  if (before == added_.end() && application_count_ >= kMaxApplications) {
    return Error(StatusCode::kResourceExhausted,
                 "the node has had {} applications: expected no more until it is started again",
                 application_count_);
  }
  const ApplicationIndex index = before == added_.end() ? TellApplication(spec) : before->second;
  if (before == added_.end()) added_.emplace_back(spec, index);
  applications_.emplace(key, index);
  RefreshApplications(spec.model);
  return index;
}

bool LiveNode::RemoveApplication(const std::string& name, const std::string& model) {
  const MutexLock control(control_);
  if (applications_.erase(std::pair(name, model)) == 0) return false;
  RefreshApplications(model);
  return true;
}

std::vector<NodeService> LiveNode::Services() const {
  std::vector<std::shared_ptr<const ServedModel>> newest;
  for (auto& model : Models()) {
    if (!newest.empty() && newest.back()->spec.name == model->spec.name) newest.pop_back();
    newest.push_back(std::move(model));
  }
  std::vector<NodeService> services;
  const MutexLock lock(mutex_);
  for (DeviceIndex d = 0; d < options_.devices.size(); ++d) {
    for (const auto& model : newest) {
      const Generation& generation = engine_->generations()[model->generation];
      const Variant& variant = generation.variants[generation.default_variant];
      const Placement* const placement = variant.On(d);
      if (placement == nullptr) continue;
      // Of a normal distribution, the standard deviation for a mean absolute deviation of 1.
      constexpr double kDeviation = 1.2533;
      const double cv = kDeviation * placement->service.deviation() / placement->service.factor();
      services.push_back(
          {.model = model->spec.name,
           .device = options_.devices[d].spec.name,
           .mean = placement->service.Mean(1),
           .cv2 = cv * cv,
           .instances = placement->instances,
           .memory_bytes = model->spec.variants[generation.default_variant].memory_bytes});
    }
  }
  return services;
}

std::shared_ptr<const ServedModel> LiveNode::Install(LoadedModel loaded) {
  GenerationLoad load;
  load.index = TakeGenerationIndex();
  auto served = MakeServed(loaded, load.index, load.applications);
  load.generation = std::move(loaded.generation);
  Event event;
  event.kind = Event::Kind::kLoad;
  event.load = &load;
  Turn& turn = ThreadTurn();
  {
    const MutexLock lock(mutex_);
    for (DeviceIndex d = 0; d < devices_.size(); ++d) {
      auto& here = devices_[d].loaded;
      if (here.size() <= load.index) here.resize(load.index + 1);
      here[load.index] = std::move(loaded.by_device[d]);
    }
    const TimePoint now = clock_.Now();
    engine_->Handle(now, event, turn.effects);
    Collect(now, event, nullptr, turn);
  }
  FollowUp(turn);
  return served;
}

LiveNode::ModelList LiveNode::Replace(std::string_view name, ModelList now) {
  ModelList before;
  const MutexLock lock(models_mutex_);
  ModelList all;
  for (auto& model : models_) {
    (model->spec.name == name ? before : all).push_back(std::move(model));
  }
  std::ranges::move(now, std::back_inserter(all));
  std::ranges::sort(all, [](const auto& a, const auto& b) {
    return std::tie(a->spec.name, a->spec.version) < std::tie(b->spec.name, b->spec.version);
  });
  models_ = std::move(all);
  for (const auto& model : before) {
    leaving_[model->generation] = {model->spec.name, model->spec.version};
  }
  return before;
}

Status LiveNode::Load(std::vector<ModelSpec> versions, LoadOrder order) {
  DULY_CHECK(!versions.empty());
  const std::string name = versions.front().name;
  const MutexLock control(control_);
  if (order == LoadOrder::kUnloadFirst) {
    Replace(name, {}).clear();
    const MutexLock lock(models_mutex_);
    left_.wait(models_mutex_, [&]() DULY_REQUIRES(models_mutex_) {
      return std::ranges::none_of(leaving_,
                                  [&](const auto& entry) { return entry.second.name == name; });
    });
  }
  Faults faults;
  std::vector<LoadedModel> loaded;
  for (ModelSpec& spec : versions) {
    if (Result<LoadedModel> model = LoadModel(std::move(spec), options_, faults)) {
      loaded.push_back(std::move(*model));
    }
  }
  if (Status status = faults.ToStatus(); !status.ok()) return status;
  ModelList served;
  for (LoadedModel& model : loaded) served.push_back(Install(std::move(model)));
  Replace(name, std::move(served));
  return Status();
}

bool LiveNode::Unload(std::string_view name) {
  const MutexLock control(control_);
  return !Replace(name, {}).empty();
}

// A generation has no references: none of its requests is in the node, and none can come.
void LiveNode::FreeUnused(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "duly-unload");
  while (const std::optional<GenerationIndex> unused = unused_->Take(stop)) {
    Event event;
    event.kind = Event::Kind::kUnload;
    event.generation = *unused;
    std::vector<std::vector<std::unique_ptr<LoadedVariant>>> gone;
    Turn& turn = ThreadTurn();
    {
      const MutexLock lock(mutex_);
      const TimePoint now = clock_.Now();
      engine_->Handle(now, event, turn.effects);
      Collect(now, event, nullptr, turn);
      for (DeviceState& device : devices_) {
        gone.push_back(std::exchange(device.loaded[*unused], {}));
      }
    }
    FollowUp(turn);
    gone.clear();
    // What a model took goes back to the system, not to the next one that may never come.
    malloc_trim(0);
    const MutexLock lock(models_mutex_);
    leaving_.erase(*unused);
    free_generations_.push_back(*unused);
    left_.notify_all();
  }
}

void LiveNode::StartThreads() {
  timer_ = std::make_unique<TimerThread>([this] { OnTimer(); });
  unloader_ = std::jthread([this](const std::stop_token& stop) { FreeUnused(stop); });
  for (DeviceIndex d = 0; d < devices_.size(); ++d) {
    DeviceState& device = devices_[d];
    const std::uint32_t slots = options_.devices[d].spec.slots;
    for (std::uint32_t s = 0; s < slots; ++s) {
      device.slots.push_back(std::make_unique<SlotState>());
    }
    for (std::uint32_t s = 0; s < slots; ++s) {
      device.slots[s]->thread =
          std::jthread([this, d, s](const std::stop_token& stop) { ExecutorLoop(stop, d, s); });
    }
  }
}

LiveNode::~LiveNode() {
  if (timer_ == nullptr) return;  // never started
  unloader_.request_stop();
  unloader_.join();
  Drain();
  {
    const MutexLock lock(mutex_);
    closing_ = true;
    while (engine_->live_requests() > 0) idle_.wait(mutex_);
  }
  timer_.reset();
  for (DeviceState& device : devices_) {
    for (const std::unique_ptr<SlotState>& slot : device.slots) {
      slot->thread.request_stop();
      slot->ready.release();
      slot->thread.join();
    }
  }
}

std::shared_ptr<const ServedModel> LiveNode::FindModel(std::string_view name,
                                                       std::int64_t version) const {
  const MutexLock lock(models_mutex_);
  // Behind the last of the name, whose versions ascend.
  auto it = std::ranges::upper_bound(
      models_, name, {}, [](const auto& model) { return std::string_view(model->spec.name); });
  while (it != models_.begin() && (*--it)->spec.name == name) {
    if (version < 0 || (*it)->spec.version == version) return *it;
  }
  return nullptr;
}

std::vector<std::shared_ptr<const ServedModel>> LiveNode::Models() const {
  const MutexLock lock(models_mutex_);
  return models_;
}

std::vector<ModelVersion> LiveNode::Leaving() const {
  const MutexLock lock(models_mutex_);
  std::vector<ModelVersion> leaving;
  for (const auto& [generation, version] : leaving_) leaving.push_back(version);
  return leaving;
}

// Dimensions of all inputs but the rows; requests of one signature may share a batch.
std::uint64_t ShapeSignature(const InferRequest& request) {
  const bool batches = request.model->spec.max_rows > 0;
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  const auto mix = [&hash](std::uint64_t value) {
    hash = (hash ^ value) * 0x100000001B3ULL;
    hash ^= hash >> 32;
  };
  mix(request.inputs.size());
  for (const Tensor& input : request.inputs) {
    mix(input.shape.size());
    for (std::size_t i = batches ? 1 : 0; i < input.shape.size(); ++i) {
      mix(static_cast<std::uint64_t>(input.shape[i]));
    }
  }
  return hash;
}

RequestId LiveNode::Submit(InferRequest request, ResponseHandle response) {
  Event event;
  event.kind = Event::Kind::kArrival;
  event.arrival.generation = request.model->generation;
  event.arrival.application = request.application;
  event.arrival.shape = ShapeSignature(request);
  event.arrival.rows = request.rows;
  event.arrival.variants = request.variants;
  if (request.slo) event.arrival.slo = *request.slo;
  if (request.timeout) event.arrival.timeout = *request.timeout;
  if (request.call_timeout) event.arrival.call_timeout = *request.call_timeout;
  event.arrival.priority = request.priority;
  if (request.min_accuracy_pct) event.arrival.min_accuracy_pct = *request.min_accuracy_pct;

  auto pending = std::make_unique<Pending>(Pending{std::move(request), std::move(response)});
  Turn& turn = ThreadTurn();
  Enter(event, std::move(pending), turn);
  const RequestId id = turn.effects.arrived;
  FollowUp(turn);
  return id;
}

void LiveNode::Cancel(RequestId id) {
  Event event;
  event.kind = Event::Kind::kCancel;
  event.request = id;
  Turn& turn = ThreadTurn();
  Enter(event, nullptr, turn);
  FollowUp(turn);
}

void LiveNode::Drain() {
  Event event;
  event.kind = Event::Kind::kDrain;
  Turn& turn = ThreadTurn();
  Enter(event, nullptr, turn);
  FollowUp(turn);
}

std::size_t LiveNode::LiveRequests() const {
  const MutexLock lock(mutex_);
  return engine_->live_requests();
}

EngineStats LiveNode::Stats() const {
  const MutexLock lock(mutex_);
  return engine_->stats();
}

void LiveNode::OnTimer() {
  Turn& turn = ThreadTurn();
  {
    const MutexLock lock(mutex_);
    timer_armed_ = kNever;
    const TimePoint now = clock_.Now();
    const TimePoint next = engine_->NextTimer();
    if (next <= now) {
      Event event;
      event.kind = Event::Kind::kTimer;
      engine_->Handle(now, event, turn.effects);
      Collect(now, event, nullptr, turn);
    } else if (next != kNever) {
      timer_armed_ = turn.arm_timer = next;
    }
  }
  FollowUp(turn);
}

void LiveNode::Enter(const Event& event, std::unique_ptr<Pending> arriving, Turn& turn) {
  const MutexLock lock(mutex_);
  const TimePoint now = clock_.Now();
  engine_->Handle(now, event, turn.effects);
  Collect(now, event, std::move(arriving), turn);
}

void LiveNode::Collect(TimePoint now, const Event& event, std::unique_ptr<Pending> arriving,
                       Turn& turn) {
  turn.now = now;
  const Effects& effects = turn.effects;
  // A request that ended in this very event may have left its index to the one that arrived.
  for (const Finish& finish : effects.finishes) {
    std::unique_ptr<Pending>* payload =
        finish.request == effects.arrived ? &arriving : &waiting_[finish.request.index];
    turn.ended.push_back(finish.batch == kNoIndex ? std::move(*payload) : nullptr);
  }
  if (arriving != nullptr) {
    const std::uint32_t index = effects.arrived.index;
    if (index >= waiting_.size()) waiting_.resize(index + 1);
    waiting_[index] = std::move(arriving);
  }
  for (const StartBatch& start : effects.starts) {
    DeviceState& device = devices_[start.device];
    SlotState::Job& job = device.slots[start.slot]->job;
    job.batch = start.batch;
    job.variant = device.loaded[start.generation][start.variant].get();
    job.members.clear();
    for (const RequestId member : effects.MembersOf(start)) {
      job.members.push_back(std::move(waiting_[member.index]));
    }
  }
  if (observer_ != nullptr) observer_->OnEvent(now, event, effects);
  const TimePoint next = engine_->NextTimer();
  if (next < timer_armed_) timer_armed_ = turn.arm_timer = next;
  if (closing_ && engine_->live_requests() == 0) idle_.notify_all();
}

void LiveNode::Answer(Pending& pending, const Finish& finish, TimePoint ended,
                      const RunTimes& times, Status status, std::vector<Tensor> outputs) {
  InferResponse response;
  response.outcome = finish.outcome;
  response.reason = finish.reason;
  response.status = std::move(status);
  response.retry_after = finish.retry_after;
  response.outputs = std::move(outputs);
  response.report.batch_rows = finish.batch_rows;
  response.report.queue = finish.waiting;
  response.report.compute = finish.service;
  response.report.infer = times.infer;
  response.report.output = times.output;
  response.report.predicted = finish.predicted;
  response.report.ended = ended;
  if (finish.device != kNoIndex) {
    response.report.device = options_.devices[finish.device].spec.name;
    const ModelSpec& spec = pending.request.model->spec;
    response.report.variant = spec.variants[finish.variant].name;
    response.report.accuracy_pct = spec.variants[finish.variant].accuracy_pct;
  }
  pending.response.Finish(std::move(response));
}

void LiveNode::PostEnded(Turn& turn) {
  if (turn.arm_timer != kNever) timer_->Arm(turn.arm_timer);
  for (std::size_t i = 0; i < turn.ended.size(); ++i) {
    if (turn.ended[i] != nullptr) {
      Answer(*turn.ended[i], turn.effects.finishes[i], turn.now, RunTimes(), Status(), {});
    }
  }
}

bool LiveNode::HandOver(const Turn& turn, const SlotState* own) {
  bool mine = false;
  for (const StartBatch& start : turn.effects.starts) {
    SlotState* slot = devices_[start.device].slots[start.slot].get();
    if (slot == own) {
      mine = true;
    } else {
      slot->ready.release();
    }
  }
  return mine;
}

void LiveNode::FollowUp(Turn& turn) {
  // An answer may lead to another request on this thread, which would reuse the thread's turn.
  Turn mine;
  std::swap(mine, turn);
  PostEnded(mine);
  const std::vector<StartBatch>& starts = mine.effects.starts;
  // One short run may be executed here: a hand-over to another thread would take longer than the
  // run.
  if (starts.size() == 1 && starts.front().predicted < options_.inline_below) {
    const StartBatch start = starts.front();
    mine.Clear();
    RunJob(start.device, start.slot, mine);
  }
  HandOver(mine, nullptr);
  mine.Clear();
  std::swap(mine, turn);
}

void LiveNode::RunJob(DeviceIndex device, std::uint32_t slot_index, Turn& turn) {
  SlotState& slot = *devices_[device].slots[slot_index];
  // The engine may give the slot its next job as soon as this one is reported.
  std::vector<std::unique_ptr<Pending>> members = std::move(slot.job.members);
  std::vector<RunItem> items(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const InferRequest& request = members[i]->request;
    items[i].inputs = request.inputs;
    items[i].rows = request.rows;
    items[i].wanted_outputs = request.wanted_outputs;
  }
  RunTimes times;
  const Status status = slot.job.variant->Run(items, times);

  Event event;
  event.kind = Event::Kind::kBatchDone;
  event.done.batch = slot.job.batch;
  event.done.failed = !status.ok();
  event.done.input = times.input;
  event.done.infer = times.infer;
  event.done.output = times.output;
  Enter(event, nullptr, turn);
  PostEnded(turn);
  for (const Finish& finish : turn.effects.finishes) {
    if (finish.batch == kNoIndex) continue;
    const std::uint32_t position = finish.batch_position;
    Answer(*members[position], finish, turn.now, times, status,
           status.ok() ? std::move(items[position].outputs) : std::vector<Tensor>());
  }
}

void LiveNode::ExecutorLoop(const std::stop_token& stop, DeviceIndex device, std::uint32_t slot) {
  const DeviceSpec& spec = options_.devices[device].spec;
  pthread_setname_np(pthread_self(), fmt::format("duly-{:.7}-{}", spec.name, slot).c_str());
  if (spec.kind == DeviceKind::kCpu && !spec.cores.empty()) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (const std::uint32_t core : spec.cores) CPU_SET(core, &cores);
    if (pthread_setaffinity_np(pthread_self(), sizeof(cores), &cores) != 0) {
      spdlog::warn("device {}: its threads cannot be bound to its cores", spec.name);
    }
  }
  // Computation does not preempt the threads that wake up to take requests and send answers.
  sched_param none{};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);

  SlotState& own = *devices_[device].slots[slot];
  Turn turn;
  for (;;) {
    own.ready.acquire();
    if (stop.stop_requested()) return;
    do {
      turn.Clear();
      RunJob(device, slot, turn);
    } while (HandOver(turn, &own));
  }
}

}  // namespace

Result<std::unique_ptr<Node>> Node::Start(NodeOptions options) {
  auto node = std::make_unique<LiveNode>(std::move(options));
  DULY_RETURN_IF_ERROR(node->LoadAll());
  node->StartThreads();
  return node;
}

}  // namespace duly
