// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "engine/load.h"

namespace duly {
namespace {

// Queues that are kept, even when they are empty; above, an empty one serves the next new key.
constexpr std::size_t kKeptQueues = 64;

// Room that a queue has from the start, so that few ever grow.
constexpr std::uint32_t kQueueRoom = 64;

// What a generation says of its queue that says nothing.
constexpr QueuePolicy kNoQueuePolicy;

// By how many levels a request without terms moves at most; each halves or doubles.
constexpr std::int32_t kMostSteps = 10;

// The nearest that says anything about time decides: the request, its application, its model.
struct Terms {
  std::optional<Duration> slo;
  std::optional<Duration> timeout;
};

Terms TermsOf(const Arrival& arrival, const Application& application, const Generation& generation,
              const QueuePolicy& policy) {
  Terms terms;
  if (arrival.slo >= Duration(0)) terms.slo = arrival.slo;
  if (arrival.timeout >= Duration(0)) terms.timeout = arrival.timeout;
  if (!policy.allow_timeout_override) terms.timeout.reset();
  if (terms.slo || terms.timeout) return terms;
  if (application.slo || application.timeout) return {application.slo, application.timeout};
  const bool own = policy.default_timeout > Duration(0);
  return {generation.slo, own ? policy.default_timeout : generation.timeout};
}

// The response time that orders a request without terms: a level before the default one halves it,
// one behind doubles it.
Duration TargetOf(std::int32_t steps, Duration target) {
  const std::int64_t factor = std::int64_t{1} << std::min(std::abs(steps), kMostSteps);
  return steps < 0 ? target / factor : target * factor;
}

struct Choice {
  VariantMask allowed = 0;
  std::uint32_t preferred = 0;
};

Loss LossOf(const std::vector<Variant>& variants, std::uint32_t preferred, std::uint32_t served) {
  return duly::LossOf(variants[preferred].accuracy_pct, variants[served].accuracy_pct);
}

// The variants that the request may get: the client's own choice, else the model's default one if
// it meets the floor, else the least accurate one that does. Who accepts degradation may also get
// what is less accurate than that, down to the floor and by what its budget leaves.
Choice VariantsOf(const Arrival& arrival, const Application& application,
                  const std::optional<LossWindow>& budget, const Generation& generation) {
  const std::vector<Variant>& variants = generation.variants;
  const double floor =
      arrival.min_accuracy_pct >= 0 ? arrival.min_accuracy_pct : application.min_accuracy_pct;
  VariantMask above_floor = 0;
  for (std::uint32_t v = 0; v < variants.size(); ++v) {
    if (variants[v].placements.empty()) continue;
    if (arrival.variants != 0 && (arrival.variants >> v & 1U) == 0) continue;
    if (floor > 0 && variants[v].accuracy_pct < floor) continue;
    above_floor |= VariantMask{1} << v;
  }
  if (above_floor == 0) return {};
  Choice choice;
  choice.preferred = generation.default_variant;
  if ((above_floor >> choice.preferred & 1U) == 0) {
    choice.preferred = static_cast<std::uint32_t>(std::countr_zero(above_floor));
    for (std::uint32_t v = 0; v < variants.size(); ++v) {
      if ((above_floor >> v & 1U) != 0 &&
          variants[v].accuracy_pct < variants[choice.preferred].accuracy_pct) {
        choice.preferred = v;
      }
    }
  }
  choice.allowed = VariantMask{1} << choice.preferred;
  if (application.on_miss == OnMiss::kDegrade) {
    for (std::uint32_t v = 0; v < variants.size(); ++v) {
      if ((above_floor >> v & 1U) != 0 &&
          variants[v].accuracy_pct < variants[choice.preferred].accuracy_pct &&
          (!budget || LossOf(variants, choice.preferred, v) <= budget->room())) {
        choice.allowed |= VariantMask{1} << v;
      }
    }
  }
  return choice;
}

}  // namespace

std::size_t Engine::QueueKeyHash::operator()(const QueueKey& key) const {
  std::uint64_t h = key.shape;
  h ^= (static_cast<std::uint64_t>(key.generation) << 32 | key.variants) * 0x9E3779B97F4A7C15ULL;
  h ^= h >> 29;
  return static_cast<std::size_t>(h * 0xBF58476D1CE4E5B9ULL);
}

Engine::Engine(EngineConfig config, std::unique_ptr<DispatchPolicy> policy)
    : config_(std::move(config)),
      policy_(std::move(policy)),
      ordering_(policy_->ordering()),
      generations_(config_.generations),
      applications_(config_.applications) {
  DULY_CHECK(!config_.devices.empty() && config_.max_waiting > 0);
  devices_.resize(config_.devices.size());
  for (DeviceIndex d = 0; d < devices_.size(); ++d) {
    const EngineDevice& device = config_.devices[d];
    DULY_CHECK(device.slots > 0);
    devices_[d].name = device.name;
    devices_[d].slots.resize(device.slots);
    devices_[d].free_slots = device.slots;
    stats_.devices.emplace_back();
    stats_.devices[d].name = device.name;
    stats_.devices[d].slots = device.slots;
    for (std::uint32_t slot = 0; slot < device.slots; ++slot) {
      batches_.emplace_back();
      batches_.back().device = d;
      batches_.back().slot = slot;
    }
  }
  ask_again_.assign(devices_.size(), kNever);
  for (const Application& application : applications_) {
    DULY_CHECK(CheckApplication(application).ok());
  }
  stats_.models.resize(generations_.size());
  for (GenerationIndex g = 0; g < generations_.size(); ++g) {
    DULY_CHECK(CheckGeneration(generations_[g], devices_.size(), applications_.size()).ok());
    Reserve(g);
  }
  OpenAccounts();
}

void Engine::Reserve(GenerationIndex index) {
  const Generation& generation = generations_[index];
  for (Batch& batch : batches_) batch.members.reserve(std::max(generation.max_rows, 1U));
  if (waiting_of_level_.size() <= index) waiting_of_level_.resize(index + 1);
  const std::size_t levels = generation.batching ? generation.batching->levels.size() : 0;
  waiting_of_level_[index].assign(levels + 1, 0);
  stats_.models[index].variant_requests.resize(generation.variants.size());
}

View Engine::MakeView(TimePoint now) const {
  View view;
  view.now = now;
  view.devices = devices_;
  view.generations = generations_;
  view.applications = applications_;
  view.heads = heads_;
  view.queues = queues_;
  view.order = order_;
  view.max_waiting = config_.max_waiting;
  return view;
}

void Engine::Handle(TimePoint now, const Event& event, Effects& effects) {
  DULY_CHECK(now >= last_);
  last_ = now;
  ++stats_.events;
  ++sequence_;
  // A timer may be late; what has expired by now must not start now.
  DropDue(now, effects);
  switch (event.kind) {
    case Event::Kind::kArrival:
      OnArrival(now, event.arrival, effects);
      break;
    case Event::Kind::kBatchDone:
      OnBatchDone(now, event.done, effects);
      break;
    case Event::Kind::kCancel:
      OnCancel(now, event.request, effects);
      break;
    case Event::Kind::kDrain:
      draining_ = true;
      break;
    case Event::Kind::kLoad:
      OnLoad(*event.load);
      break;
    case Event::Kind::kUnload:
      OnUnload(event.generation);
      break;
    case Event::Kind::kTimer:
      break;
  }
  DispatchAll(now, effects);
}

TimePoint Engine::NextTimer() const {
  TimePoint next = drops_.empty() ? kNever : drops_.front().drop_at;
  for (const TimePoint t : ask_again_) next = std::min(next, t);
  return next;
}

Request& Engine::NewRequest(TimePoint now) {
  std::uint32_t index = 0;
  if (free_requests_.empty()) {
    index = static_cast<std::uint32_t>(requests_.size());
    requests_.emplace_back();
    // Returning a record must never allocate.
    if (free_requests_.capacity() < requests_.size()) {
      free_requests_.reserve(2 * requests_.size());
    }
  } else {
    index = free_requests_.back();
    free_requests_.pop_back();
  }
  Request& request = requests_[index];
  request.sequence = sequence_;
  request.index = index;
  request.state = RequestState::kWaiting;
  request.arrival = now;
  request.deadline = kNever;
  request.expiry = kNever;
  request.refuse_at = kNever;
  request.delay_at = kNever;
  request.drop_at = kNever;
  request.rank = 0;
  request.level = 0;
  request.demoted = false;
  request.cancelled = false;
  request.queue = kNoIndex;
  request.work = Duration(0);
  request.predicted = Duration(0);
  request.batch = kNoIndex;
  request.loss_charged = 0;
  ++live_;
  return request;
}

void Engine::Free(Request& request) {
  DULY_CHECK(request.state != RequestState::kFree);
  request.state = RequestState::kFree;
  free_requests_.push_back(request.index);
  --live_;
}

QueueIndex Engine::FindQueue(const QueueKey& key) {
  if (const auto found = queue_index_.find(key); found != queue_index_.end()) return found->second;
  QueueIndex index = kNoIndex;
  if (queues_.size() >= kKeptQueues) {
    // In turn, so that new keys do not chase the busy ones from place to place.
    for (std::size_t i = 0; i < queues_.size() && index == kNoIndex; ++i) {
      next_reused_ = (next_reused_ + 1) % static_cast<QueueIndex>(queues_.size());
      if (heads_[next_reused_].count == 0) index = next_reused_;
    }
  }
  if (index == kNoIndex) {
    index = static_cast<QueueIndex>(queues_.size());
    queues_.emplace_back().waiting.Reserve(std::min(config_.max_waiting, kQueueRoom));
    heads_.emplace_back();
    queue_index_.emplace(key, index);
  } else {
    // The node goes on to the new key: nothing is allocated.
    const Queue& old = queues_[index];
    auto node = queue_index_.extract(QueueKey{old.generation, old.variants, old.shape});
    node.key() = key;
    queue_index_.insert(std::move(node));
  }
  Queue& queue = queues_[index];
  queue.generation = key.generation;
  queue.variants = key.variants;
  queue.shape = key.shape;
  heads_[index] = QueueHead{};
  heads_[index].generation = key.generation;
  heads_[index].variants = key.variants;
  return index;
}

void Engine::RefreshHead(QueueIndex index) {
  const RequestList<DueOrder>& waiting = queues_[index].waiting;
  QueueHead& head = heads_[index];
  head.count = static_cast<std::uint32_t>(waiting.size());
  if (waiting.empty()) {
    head.due = kNever;
    return;
  }
  const Request& first = waiting.front();
  head.due = first.due;
  head.sequence = first.sequence;
  head.rank = first.rank;
  head.demoted = first.demoted;
}

void Engine::Enqueue(Request& request, QueueIndex index) {
  Queue& queue = queues_[index];
  request.queue = index;
  queue.waiting.Insert(request);
  RefreshHead(index);
  order_.Insert(request);
  if (request.drop_at != kNever) drops_.Insert(request);
  waiting_work_ += request.work;
  ++applications_[request.application].waiting;
  ++stats_.models[request.generation].waiting;
  ++WaitingOfLevel(request);
}

void Engine::Dequeue(Request& request) {
  Queue& queue = queues_[request.queue];
  queue.waiting.Erase(request);
  RefreshHead(request.queue);
  order_.Erase(request);
  if (request.drop_at != kNever) drops_.Erase(request);
  waiting_work_ -= request.work;
  --applications_[request.application].waiting;
  --stats_.models[request.generation].waiting;
  --WaitingOfLevel(request);
}

void Engine::Demote(Request& request) {
  const QueueIndex queue = request.queue;
  Dequeue(request);
  request.demoted = true;
  Enqueue(request, queue);
}

void Engine::Delay(Request& request) {
  const QueueIndex queue = request.queue;
  Dequeue(request);
  request.demoted = true;
  request.delay_at = kNever;
  request.drop_at = std::min(request.expiry, request.refuse_at);
  Enqueue(request, queue);
}

void Engine::OnArrival(TimePoint now, const Arrival& arrival, Effects& effects) {
  DULY_CHECK(arrival.generation < generations_.size());
  const Generation& generation = generations_[arrival.generation];
  const ApplicationIndex application_index =
      arrival.application == kNoIndex ? generation.default_application : arrival.application;
  DULY_CHECK(application_index < applications_.size());
  const Application& application = applications_[application_index];

  Request& request = NewRequest(now);
  effects.arrived = {request.index, request.sequence};
  request.generation = arrival.generation;
  request.application = application_index;
  request.rows = arrival.rows;
  request.on_miss = application.on_miss;
  const QueuePolicy* policy = &kNoQueuePolicy;
  std::int32_t steps = 0;  // behind the default level
  if (generation.batching) {
    request.level = generation.batching->LevelOf(arrival.priority);
    policy = &generation.batching->PolicyOf(request.level);
    steps = static_cast<std::int32_t>(request.level) -
            static_cast<std::int32_t>(generation.batching->default_level);
  }
  const Terms terms = TermsOf(arrival, application, generation, *policy);
  if (terms.slo) request.deadline = SaturatingAdd(now, *terms.slo);
  if (terms.timeout) {
    const bool delays = policy->on_timeout == OnTimeout::kDelay;
    (delays ? request.delay_at : request.expiry) = SaturatingAdd(now, *terms.timeout);
  }
  if (arrival.call_timeout >= Duration(0)) {
    request.expiry = std::min(request.expiry, SaturatingAdd(now, arrival.call_timeout));
  }
  std::optional<LossWindow>& budget = loss_windows_[application_index];
  const Choice choice = VariantsOf(arrival, application, budget, generation);
  request.variant = choice.preferred;
  request.preferred = choice.preferred;

  if (draining_) {
    EndWaiting(now, request, Outcome::kRejected, RejectReason::kShuttingDown, effects);
    return;
  }
  if (choice.allowed == 0) {
    EndWaiting(now, request, Outcome::kRejected, RejectReason::kModelUnavailable, effects);
    return;
  }
  if (request.expiry <= now) {
    EndWaiting(now, request, Outcome::kExpired, RejectReason::kNone, effects);
    return;
  }

  if (policy->max_requests > 0 && WaitingOfLevel(request) >= policy->max_requests) {
    EndWaiting(now, request, Outcome::kRejected, RejectReason::kQueueFull, effects);
    return;
  }

  if (ordering_ == QueueOrdering::kArrival) {
    request.due = now;
    request.rank = steps;
  } else {
    request.due = request.deadline;
    const TimePoint patience = std::min(request.expiry, request.delay_at);
    if (patience != kNever) {
      const Duration service =
          generation.variants[choice.preferred].placements.front().service.Mean(request.rows);
      request.due = std::min(request.due, SaturatingAdd(patience, service));
    }
    if (!terms.slo && !terms.timeout) {
      request.due =
          std::min(request.due, SaturatingAdd(now, TargetOf(steps, policy_->best_effort_target())));
    }
  }

  request.queue = FindQueue({arrival.generation, choice.allowed, arrival.shape});
  victims_.Clear();
  const Admission admission =
      policy_->Admit(MakeView(now), request, arrival.generation, choice.allowed, victims_);
  if (!admission.accept) {
    // Patience is never refused by prediction.
    DULY_CHECK(admission.reason != RejectReason::kPredictedLate || request.deadline != kNever);
    if (admission.reason == RejectReason::kPredictedLate) {
      ForgetIfIdle(arrival.generation, choice.allowed);
    }
    EndWaiting(now, request, Outcome::kRejected, admission.reason, effects);
    return;
  }
  for (const std::uint32_t index : victims_.indices()) {
    Request& victim = requests_[index];
    DULY_CHECK(victim.state == RequestState::kWaiting && victim.index != request.index);
    Dequeue(victim);
    EndWaiting(now, victim, Outcome::kRejected, RejectReason::kYielded, effects);
  }
  if (order_.size() >= config_.max_waiting) {
    EndWaiting(now, request, Outcome::kRejected, RejectReason::kQueueFull, effects);
    return;
  }
  DULY_CHECK(admission.variants != 0 && (admission.variants & ~choice.allowed) == 0);
  DULY_CHECK(admission.variant < generation.variants.size() &&
             (admission.variants >> admission.variant & 1U) != 0);
  DULY_CHECK(admission.drop_at == kNever || request.deadline != kNever);
  DULY_CHECK(!admission.due || request.deadline == kNever);
  if (admission.due) request.due = *admission.due;
  request.demoted = admission.demoted || request.delay_at <= now;
  request.variant = admission.variant;
  if (budget) {
    for (std::uint32_t v = 0; v < generation.variants.size(); ++v) {
      if ((admission.variants >> v & 1U) == 0) continue;
      request.loss_charged =
          std::max(request.loss_charged, LossOf(generation.variants, choice.preferred, v));
    }
    budget->Charge(request.loss_charged);
  }
  request.work = admission.work;
  request.predicted = admission.predicted;
  request.refuse_at = admission.drop_at;
  if (request.delay_at <= now) request.delay_at = kNever;
  request.drop_at = std::min({request.expiry, request.refuse_at, request.delay_at});
  if (request.drop_at <= now) {
    ForgetIfIdle(arrival.generation, choice.allowed);
    EndWaiting(now, request, Outcome::kRejected, RejectReason::kPredictedLate, effects);
    return;
  }
  Enqueue(request, admission.variants == choice.allowed
                       ? request.queue
                       : FindQueue({arrival.generation, admission.variants, arrival.shape}));
}

// An idle node refuses because of what it has observed, perhaps of runs beside others. Refusing for
// ever would never show that it is over.
void Engine::ForgetIfIdle(GenerationIndex generation, VariantMask variants) {
  const auto runs = [](const Device& device) {
    return std::ranges::any_of(device.slots, &Slot::busy);
  };
  if (!order_.empty() || std::ranges::any_of(devices_, runs)) return;
  std::vector<Variant>& all = generations_[generation].variants;
  for (std::size_t v = 0; v < all.size(); ++v) {
    if ((variants >> v & 1U) == 0) continue;
    for (Placement& placement : all[v].placements) placement.service.Forget();
  }
}

void Engine::EndWaiting(TimePoint now, Request& request, Outcome outcome, RejectReason reason,
                        Effects& effects) {
  Finish finish;
  finish.request = {request.index, request.sequence};
  finish.outcome = outcome;
  finish.reason = reason;
  finish.application = request.application;
  finish.variant = request.variant;
  finish.waiting = now - request.arrival;
  finish.predicted = request.predicted;
  if (outcome == Outcome::kRejected) finish.retry_after = RetryAfter(now);
  Settle(request, finish);
  Account(now, request, finish);
  effects.finishes.push_back(finish);
  Free(request);
}

// When the node will have worked off what it has.
Duration Engine::RetryAfter(TimePoint now) const {
  Duration work = waiting_work_;
  std::int64_t slots = 0;
  for (const Device& device : devices_) {
    for (const Slot& slot : device.slots) {
      if (slot.busy) work += std::max(slot.predicted_end - now, Duration(0));
      ++slots;
    }
  }
  return work / slots;
}

void Engine::DropDue(TimePoint now, Effects& effects) {
  while (!drops_.empty() && drops_.front().drop_at <= now) {
    Request& request = requests_[drops_.front().index];
    const bool expired = request.expiry <= now;
    if (!expired && request.refuse_at > now) {
      Delay(request);
      continue;
    }
    Dequeue(request);
    EndWaiting(now, request, expired ? Outcome::kExpired : Outcome::kRejected,
               expired ? RejectReason::kNone : RejectReason::kPredictedLate, effects);
  }
}

void Engine::OnCancel(TimePoint now, RequestId id, Effects& effects) {
  if (id.index >= requests_.size()) return;
  Request& request = requests_[id.index];
  if (request.state == RequestState::kFree || request.sequence != id.sequence) return;
  if (request.state == RequestState::kRunning) {
    request.cancelled = true;
    return;
  }
  Dequeue(request);
  EndWaiting(now, request, Outcome::kCancelled, RejectReason::kNone, effects);
}

void Engine::OpenAccounts() {
  for (std::size_t a = stats_.applications.size(); a < applications_.size(); ++a) {
    stats_.applications.emplace_back().name = applications_[a].name;
    std::optional<LossWindow>& window = loss_windows_.emplace_back();
    if (applications_[a].accuracy_budget) window.emplace(*applications_[a].accuracy_budget);
  }
}

void Engine::OnLoad(const GenerationLoad& load) {
  DULY_CHECK(Apply(load, devices_.size(), generations_, applications_).ok());
  OpenAccounts();
  stats_.models.resize(generations_.size());
  stats_.models[load.index] = ModelStats();
  Reserve(load.index);
}

void Engine::OnUnload(GenerationIndex index) {
  DULY_CHECK(ApplyUnload(index, generations_).ok());
  DULY_CHECK(stats_.models[index].waiting == 0 && stats_.models[index].running == 0);
}

void Engine::DispatchAll(TimePoint now, Effects& effects) {
  // What one device takes or turns away may change what another wants.
  for (bool changed = true; changed;) {
    changed = false;
    for (DeviceIndex d = 0; d < devices_.size(); ++d) {
      changed = DispatchOn(now, d, effects) || changed;
    }
    if (devices_.size() == 1) break;
  }
  if (order_.empty()) return;
  // Nothing waits for ever: something runs, or a timer will come.
  bool anything_runs = false;
  for (const Device& device : devices_) {
    anything_runs = anything_runs || device.free_slots < device.slots.size();
  }
  DULY_CHECK(anything_runs || NextTimer() != kNever);
}

bool Engine::DispatchOn(TimePoint now, DeviceIndex device, Effects& effects) {
  ask_again_[device] = kNever;
  bool changed = false;
  while (devices_[device].free_slots > 0 && !order_.empty()) {
    const Dispatch decision = policy_->Next(MakeView(now), device);
    ++stats_.dispatch_decisions;
    if (decision.kind == Dispatch::Kind::kIdle) {
      DULY_CHECK(decision.ask_again > now);
      ask_again_[device] = decision.ask_again;
      break;
    }
    changed = true;
    DULY_CHECK(decision.queue < queues_.size() && heads_[decision.queue].count > 0);
    if (decision.kind == Dispatch::Kind::kRun) {
      Start(now, device, decision, effects);
      continue;
    }
    Request& first = requests_[queues_[decision.queue].waiting.front().index];
    DULY_CHECK(first.deadline != kNever && !first.demoted);
    if (decision.kind == Dispatch::Kind::kDemote) {
      Demote(first);
    } else {
      Dequeue(first);
      EndWaiting(now, first, Outcome::kRejected, RejectReason::kPredictedLate, effects);
    }
  }
  return changed;
}

void Engine::Start(TimePoint now, DeviceIndex device_index, const Dispatch& decision,
                   Effects& effects) {
  Queue& queue = queues_[decision.queue];
  Generation& generation = generations_[queue.generation];
  Device& device = devices_[device_index];
  DULY_CHECK(decision.count > 0 && decision.count <= queue.waiting.size());
  DULY_CHECK(decision.variant < generation.variants.size());
  DULY_CHECK((queue.variants >> decision.variant & 1U) != 0);
  auto* placement = const_cast<Placement*>(generation.variants[decision.variant].On(device_index));
  DULY_CHECK(placement != nullptr && placement->running < placement->instances);

  const auto unused = std::find_if(batches_.begin(), batches_.end(), [&](const Batch& b) {
    return b.device == device_index && b.members.empty();
  });
  DULY_CHECK(unused != batches_.end());
  Batch& batch = *unused;
  batch.generation = queue.generation;
  batch.variant = decision.variant;
  batch.rows = 0;
  batch.started = now;

  StartBatch start;
  start.batch = static_cast<std::uint32_t>(unused - batches_.begin());
  start.device = device_index;
  start.slot = batch.slot;
  start.generation = queue.generation;
  start.variant = decision.variant;
  start.first_member = static_cast<std::uint32_t>(effects.members.size());
  start.member_count = decision.count;
  for (std::uint32_t i = 0; i < decision.count; ++i) {
    Request& request = requests_[queue.waiting.front().index];
    DULY_CHECK(request.arrival <= now && now < request.expiry);
    Dequeue(request);
    request.state = RequestState::kRunning;
    request.started = now;
    request.variant = decision.variant;
    request.batch = start.batch;
    batch.rows += request.rows;
    batch.members.push_back(request.index);
    effects.members.push_back({request.index, request.sequence});
  }
  // A request larger than the cap, if a driver lets one in, runs alone.
  DULY_CHECK(decision.count == 1 || batch.rows <= generation.max_rows);
  batch.predicted = placement->service.Mean(batch.rows);
  start.rows = batch.rows;
  start.predicted = batch.predicted;
  effects.starts.push_back(start);

  device.slots[batch.slot] = {true, batch.generation, batch.variant, batch.rows,
                              now + batch.predicted};
  --device.free_slots;
  ++placement->running;
  stats_.models[batch.generation].running += decision.count;
}

void Engine::OnBatchDone(TimePoint now, const BatchDone& done, Effects& effects) {
  DULY_CHECK(done.batch < batches_.size());
  Batch& batch = batches_[done.batch];
  DULY_CHECK(!batch.members.empty());
  Device& device = devices_[batch.device];
  device.slots[batch.slot].busy = false;
  ++device.free_slots;
  auto* placement = const_cast<Placement*>(
      generations_[batch.generation].variants[batch.variant].On(batch.device));
  --placement->running;
  const Duration service = now - batch.started;
  if (!done.failed) placement->service.Observe(batch.rows, service);

  AccountBatch(now, batch, done);

  for (std::uint32_t position = 0; position < batch.members.size(); ++position) {
    Request& request = requests_[batch.members[position]];
    DULY_CHECK(request.state == RequestState::kRunning && request.batch == done.batch);
    Finish finish;
    finish.request = {request.index, request.sequence};
    finish.outcome = request.cancelled         ? Outcome::kCancelled
                     : done.failed             ? Outcome::kFailed
                     : now <= request.deadline ? Outcome::kOnTime
                                               : Outcome::kLate;
    finish.application = request.application;
    finish.device = batch.device;
    finish.batch = done.batch;
    finish.batch_position = position;
    finish.variant = batch.variant;
    finish.batch_rows = batch.rows;
    finish.waiting = request.started - request.arrival;
    finish.service = service;
    finish.predicted = request.predicted;
    Settle(request, finish);
    Account(now, request, finish);
    effects.finishes.push_back(finish);
    Free(request);
  }
  batch.members.clear();
}

void Engine::Settle(const Request& request, const Finish& finish) {
  std::optional<LossWindow>& budget = loss_windows_[request.application];
  if (!budget) return;
  if (IsAnswer(finish.outcome)) {
    budget->Answered(request.loss_charged, LossOf(generations_[request.generation].variants,
                                                  request.preferred, finish.variant));
    stats_.applications[request.application].window_loss_pct = budget->mean_pct();
  } else {
    budget->Return(request.loss_charged);
  }
}

void Engine::AccountBatch(TimePoint now, const Batch& batch, const BatchDone& done) {
  const Duration service = now - batch.started;
  DeviceStats& device = stats_.devices[batch.device];
  device.busy += service;
  ++device.batches;
  device.rows += batch.rows;
  if (batch.predicted > Duration(0)) {
    const double error = static_cast<double>((service - batch.predicted).count()) /
                         static_cast<double>(batch.predicted.count());
    device.prediction_error_sum += error < 0 ? -error : error;
  }
  const std::size_t requests = batch.members.size();
  ModelStats& model = stats_.models[batch.generation];
  model.running -= requests;
  ++model.execution_count;
  model.last_inference = now;
  if (done.failed) return;
  model.inference_count += batch.rows;
  BatchStats& by_rows = model.batches[batch.rows];
  by_rows.input.Add(done.input);
  by_rows.infer.Add(done.infer);
  by_rows.output.Add(done.output);
  // Each of its requests had these times.
  model.compute_input.Observe(done.input, requests);
  model.compute_infer.Observe(done.infer, requests);
  model.compute_output.Observe(done.output, requests);
}

void Engine::Account(TimePoint now, const Request& request, const Finish& finish) {
  ModelStats& model = stats_.models[request.generation];
  ApplicationStats& application = stats_.applications[request.application];
  const auto outcome = static_cast<std::size_t>(finish.outcome);
  const auto reason = static_cast<std::size_t>(finish.reason);
  ++model.outcomes.at(outcome);
  ++application.outcomes.at(outcome);
  if (finish.outcome == Outcome::kRejected) {
    ++model.reject_reasons.at(reason);
    ++application.reject_reasons.at(reason);
  }
  const Duration response = now - request.arrival;
  const bool answered = IsAnswer(finish.outcome);
  if (!answered) model.fail.Add(response);
  if (finish.batch == kNoIndex) return;

  const Duration device_time = ShareOf(finish.service, request.rows, finish.batch_rows);
  application.device_time += device_time;
  if (!answered) return;
  model.queue.Observe(finish.waiting);
  const std::size_t bucket = Histogram::BucketOf(response);
  model.success.Observe(response, 1, bucket);
  application.response_time.Observe(response, 1, bucket);
  ++model.variant_requests[finish.variant];
  const double accuracy = generations_[request.generation].variants[finish.variant].accuracy_pct;
  if (accuracy > 0) {
    ++application.accuracy_count;
    application.accuracy_sum_pct += accuracy;
  }
  if (finish.outcome == Outcome::kOnTime) {
    application.on_time_device_time += device_time;
    applications_[request.application].on_time.Add(now, device_time);
  }
}

}  // namespace duly
