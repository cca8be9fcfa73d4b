// SPDX-License-Identifier: Apache-2.0
#include "runtime/node.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <semaphore>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "base/fault.h"
#include "base/log.h"
#include "base/mutex.h"
#include "model/complete.h"
#include "runtime/measure.h"
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
  DeviceSpec spec;
  std::unique_ptr<Backend> backend;
  // [generation][variant], null where not placed.
  std::vector<std::vector<std::unique_ptr<LoadedVariant>>> loaded;
  std::vector<std::unique_ptr<SlotState>> slots;
};

class LiveNode final : public Node {
 public:
  explicit LiveNode(NodeOptions options) : options_(std::move(options)) {}
  ~LiveNode() override;

  Status Load();
  void StartThreads();

  std::shared_ptr<const ServedModel> FindModel(std::string_view name,
                                               std::int64_t version) const override;
  std::vector<std::shared_ptr<const ServedModel>> Models() const override { return models_; }
  ApplicationIndex FindApplication(std::string_view name, const ServedModel& model) const override;
  RequestId Submit(InferRequest request, ResponseHandle response) override;
  void Cancel(RequestId id) override;
  void Drain() override;
  std::size_t LiveRequests() const override;
  EngineStats Stats() const override;
  const EngineConfig& config() const override { return config_; }
  TimePoint Now() const override { return clock_.Now(); }

 private:
  Result<Generation> LoadModel(ModelSpec& model, Faults& faults);
  Result<LatencyCurve> CurveOf(const ModelSpec& model, const VariantSpec& variant,
                               DeviceState& device, LoadedVariant& loaded);

  // Enters the monitor. `arriving` is the payload of a kArrival event.
  void Enter(const Event& event, std::unique_ptr<Pending> arriving, Turn& turn);
  // What follows under the lock from the effects of one event: payloads change hands.
  void Collect(TimePoint now, const Event& event, std::unique_ptr<Pending> arriving, Turn& turn)
      DULY_REQUIRES(mutex_);
  // Answers those that never started and arms the timer.
  void PostEnded(Turn& turn);
  // Runs the slot's job and reports it. Leaves in `turn` what follows.
  void RunJob(DeviceIndex device, std::uint32_t slot, Turn& turn);
  void Answer(Pending& pending, const Finish& finish, Status status, std::vector<Tensor> outputs);
  // Hands every start of the turn to its executor, but for the one of `own` (returns true then).
  bool HandOver(const Turn& turn, const SlotState* own);
  // After an event that an I/O thread or the timer brought.
  void FollowUp(Turn& turn);
  void ExecutorLoop(const std::stop_token& stop, DeviceIndex device, std::uint32_t slot);
  void OnTimer();

  NodeOptions options_;
  const SteadyClock clock_;
  std::vector<std::shared_ptr<const ServedModel>> models_;  // by name, then version
  std::map<std::pair<std::string, std::string>, ApplicationIndex, std::less<>> application_index_;
  EngineConfig config_;
  std::vector<DeviceState> devices_;
  EventObserver* observer_ = nullptr;

  mutable Mutex mutex_;
  std::unique_ptr<Engine> engine_ DULY_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Pending>> waiting_ DULY_GUARDED_BY(mutex_);  // by request index
  TimePoint timer_armed_ DULY_GUARDED_BY(mutex_) = kNever;
  bool closing_ DULY_GUARDED_BY(mutex_) = false;
  std::condition_variable_any idle_;  // closing_ and no live requests

  std::unique_ptr<TimerThread> timer_;
};

Turn& ThreadTurn() {
  thread_local Turn turn;
  turn.Clear();
  return turn;
}

std::string VariantLabel(const ModelSpec& model, const VariantSpec& variant) {
  return fmt::format("model '{}' version {}, variant '{}'", model.name, model.version,
                     variant.name);
}

Result<LatencyCurve> LiveNode::CurveOf(const ModelSpec& model, const VariantSpec& variant,
                                       DeviceState& device, LoadedVariant& loaded) {
  if (const VariantProfile* measured =
          options_.profile.Find(model.name, variant.name, device.spec.name)) {
    return LatencyCurve::Create(measured->points);
  }
  MeasureOptions brief;
  brief.max_rows = 8;
  DULY_ASSIGN_OR_RETURN(const std::vector<ProfilePoint> points,
                        Measure(loaded, model, clock_, brief));
  spdlog::info("measured {} on {}: {:.3f} ms for one row", VariantLabel(model, variant),
               device.spec.name, ToMillis(points.front().mean));
  return LatencyCurve::Create(points);
}

Result<Generation> LiveNode::LoadModel(ModelSpec& model, Faults& faults) {
  Generation generation;
  generation.model = model.name;
  generation.version = model.version;
  generation.default_variant = static_cast<std::uint32_t>(model.default_variant);
  generation.batching = model.dynamic_batching;
  generation.slo = model.slo;
  generation.timeout = model.timeout;
  const auto placement = std::find_if(options_.placement.begin(), options_.placement.end(),
                                      [&](const auto& entry) { return entry.first == model.name; });
  const auto placed_on = [&](const std::string& device) {
    return placement == options_.placement.end() ||
           std::find(placement->second.begin(), placement->second.end(), device) !=
               placement->second.end();
  };

  bool complete = !model.inputs.empty();
  for (DeviceIndex d = 0; d < devices_.size(); ++d) {
    devices_[d].loaded.emplace_back();
    devices_[d].loaded.back().resize(model.variants.size());
  }
  for (const VariantSpec& spec : model.variants) {
    Variant variant;
    variant.name = spec.name;
    variant.accuracy_pct = spec.accuracy_pct.value_or(0);
    for (DeviceIndex d = 0; d < devices_.size(); ++d) {
      DeviceState& device = devices_[d];
      if (!placed_on(device.spec.name)) continue;
      Result<std::unique_ptr<LoadedVariant>> loaded = device.backend->Load(model, spec);
      if (!loaded) {
        faults.Add({spec.file.empty() ? model.folder : spec.file, 0, 0,
                    fmt::format("{}: {}", VariantLabel(model, spec), loaded.error().message()),
                    ""});
        continue;
      }
      // The first file says what the configuration leaves open; the others must agree with it.
      if (const Status agrees = CompleteFromFile(model, (*loaded)->inputs(), (*loaded)->outputs());
          !agrees.ok()) {
        faults.Add({spec.file.empty() ? model.folder : spec.file, 0, 0,
                    fmt::format("{}: {}", VariantLabel(model, spec), agrees.message()), ""});
        continue;
      }
      complete = true;
      const auto warm_up = [&]() -> Status {
        const std::vector<Tensor> inputs = ZeroInputs(model, 1);
        for (std::uint32_t i = 0; i < model.warmup_runs; ++i) {
          RunItem item;
          item.inputs = inputs;
          RunTimes times;
          if (Status status = (*loaded)->Run(std::span(&item, 1), times); !status.ok()) {
            return status;
          }
        }
        return Status();
      };
      Status status = warm_up();
      Placement place;
      place.device = d;
      place.instances =
          model.instances == 0 ? device.spec.slots : std::min(model.instances, device.spec.slots);
      if (status.ok()) {
        Result<LatencyCurve> curve = CurveOf(model, spec, device, **loaded);
        if (curve) {
          place.service = ServicePrediction(std::move(*curve));
        } else {
          status = curve.error();
        }
      }
      if (!status.ok()) {
        faults.Add({spec.file.empty() ? model.folder : spec.file, 0, 0,
                    fmt::format("{}: a run on zeros failed: {}", VariantLabel(model, spec),
                                status.message()),
                    ""});
        continue;
      }
      variant.placements.push_back(std::move(place));
      device.loaded.back().at(generation.variants.size()) = std::move(*loaded);
    }
    generation.variants.push_back(std::move(variant));
  }
  if (!complete) {
    return Error(StatusCode::kInvalidArgument, "model '{}' could not be loaded", model.name);
  }
  generation.max_rows = model.max_rows;
  return generation;
}

Status LiveNode::Load() {
  Faults faults;
  for (NodeDevice& device : options_.devices) {
    DeviceState state;
    state.spec = device.spec;
    state.backend = std::move(device.backend);
    config_.devices.push_back({state.spec.name, state.spec.slots});
    devices_.push_back(std::move(state));
  }
  config_.max_waiting = options_.max_waiting;
  std::sort(options_.models.begin(), options_.models.end(),
            [](const ModelSpec& a, const ModelSpec& b) {
              return std::tie(a.name, a.version) < std::tie(b.name, b.version);
            });
  const auto add_application = [&](Application application, const std::string& model) {
    const auto index = static_cast<ApplicationIndex>(config_.applications.size());
    application_index_.emplace(std::pair(application.name, model), index);
    config_.applications.push_back(std::move(application));
    return index;
  };
  for (const ApplicationSpec& spec : options_.applications) {
    Application application;
    application.name = spec.name;
    application.weight = spec.weight;
    application.slo = spec.slo;
    application.timeout = spec.timeout;
    application.on_miss = spec.on_miss;
    application.min_accuracy_pct = spec.min_accuracy_pct.value_or(0);
    add_application(std::move(application), spec.model);
  }
  for (ModelSpec& model : options_.models) {
    Result<Generation> generation = LoadModel(model, faults);
    if (!generation) continue;
    // The default application carries the model's name, whatever its version.
    const auto known = application_index_.find(std::pair(model.name, model.name));
    if (known != application_index_.end()) {
      generation->default_application = known->second;
    } else {
      Application application;
      application.name = model.name;
      generation->default_application = add_application(std::move(application), model.name);
    }
    auto served = std::make_shared<ServedModel>();
    served->spec = model;
    served->generation = static_cast<GenerationIndex>(config_.generations.size());
    served->ready = true;
    models_.push_back(std::move(served));
    config_.generations.push_back(std::move(*generation));
  }
  if (Status status = faults.ToStatus(); !status.ok()) return status;

  if (options_.make_observer) observer_ = options_.make_observer(config_);
  const MutexLock lock(mutex_);
  engine_ = std::make_unique<Engine>(config_, std::move(options_.policy));
  return Status();
}

void LiveNode::StartThreads() {
  timer_ = std::make_unique<TimerThread>([this] { OnTimer(); });
  for (DeviceIndex d = 0; d < devices_.size(); ++d) {
    DeviceState& device = devices_[d];
    for (std::uint32_t s = 0; s < device.spec.slots; ++s) {
      device.slots.push_back(std::make_unique<SlotState>());
    }
    for (std::uint32_t s = 0; s < device.spec.slots; ++s) {
      device.slots[s]->thread =
          std::jthread([this, d, s](const std::stop_token& stop) { ExecutorLoop(stop, d, s); });
    }
  }
}

LiveNode::~LiveNode() {
  if (timer_ == nullptr) return;  // never started
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
  // Versions ascend within a name: the last match is the highest.
  const auto [first, last] =
      std::equal_range(models_.begin(), models_.end(), name, [](const auto& a, const auto& b) {
        if constexpr (std::is_same_v<std::decay_t<decltype(a)>, std::string_view>) {
          return a < std::string_view(b->spec.name);
        } else {
          return std::string_view(a->spec.name) < b;
        }
      });
  for (auto it = last; it != first;) {
    --it;
    if (version < 0 || (*it)->spec.version == version) return *it;
  }
  return nullptr;
}

ApplicationIndex LiveNode::FindApplication(std::string_view name, const ServedModel& model) const {
  const auto found = application_index_.find(std::pair(std::string(name), model.spec.name));
  return found == application_index_.end() ? kNoIndex : found->second;
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

void LiveNode::Answer(Pending& pending, const Finish& finish, Status status,
                      std::vector<Tensor> outputs) {
  InferResponse response;
  response.outcome = finish.outcome;
  response.reason = finish.reason;
  response.status = std::move(status);
  response.retry_after = finish.retry_after;
  response.outputs = std::move(outputs);
  response.report.batch_rows = finish.batch_rows;
  response.report.queue = finish.waiting;
  response.report.compute = finish.service;
  response.report.predicted = finish.predicted;
  if (finish.device != kNoIndex) {
    response.report.device = config_.devices[finish.device].name;
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
      Answer(*turn.ended[i], turn.effects.finishes[i], Status(), {});
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
    Answer(*members[position], finish, status,
           status.ok() ? std::move(items[position].outputs) : std::vector<Tensor>());
  }
}

void LiveNode::ExecutorLoop(const std::stop_token& stop, DeviceIndex device, std::uint32_t slot) {
  const DeviceState& state = devices_[device];
  pthread_setname_np(pthread_self(), fmt::format("duly-{:.7}-{}", state.spec.name, slot).c_str());
  if (state.spec.kind == DeviceKind::kCpu && !state.spec.cores.empty()) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (const std::uint32_t core : state.spec.cores) CPU_SET(core, &cores);
    if (pthread_setaffinity_np(pthread_self(), sizeof(cores), &cores) != 0) {
      spdlog::warn("device {}: its threads cannot be bound to its cores", state.spec.name);
    }
  }
  // Computation does not preempt the threads that wake up to take requests and send answers.
  sched_param none{};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);

  SlotState& own = *state.slots[slot];
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
  DULY_RETURN_IF_ERROR(node->Load());
  node->StartThreads();
  return node;
}

}  // namespace duly
