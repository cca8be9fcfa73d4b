// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"

namespace duly {
namespace {

// Queues that may stand empty before an empty one is used again for another key.
constexpr std::size_t kIdleQueues = 64;

// The nearest that says anything about time decides: the request, its application, its model.
struct Terms {
  std::optional<Duration> slo;
  std::optional<Duration> timeout;
};

Terms TermsOf(const Arrival& arrival, const Application& application,
              const Generation& generation) {
  Terms terms;
  if (arrival.slo >= Duration(0)) terms.slo = arrival.slo;
  if (arrival.timeout >= Duration(0)) terms.timeout = arrival.timeout;
  if (generation.batching && !generation.batching->allow_timeout_override) terms.timeout.reset();
  if (terms.slo || terms.timeout) return terms;
  if (application.slo || application.timeout) return {application.slo, application.timeout};
  return {generation.slo, generation.timeout};
}

struct Choice {
  VariantMask allowed = 0;
  std::uint32_t preferred = 0;
};

// The variants that the request may get: the client's own choice, else the model's default one if
// it meets the floor, else the least accurate one that does. Who accepts degradation may also get
// what is less accurate than that, down to the floor.
Choice VariantsOf(const Arrival& arrival, const Application& application,
                  const Generation& generation) {
  const std::vector<Variant>& variants = generation.variants;
  const double floor =
      arrival.min_accuracy_pct >= 0 ? arrival.min_accuracy_pct : application.min_accuracy_pct;
  VariantMask above_floor = 0;
  for (std::uint32_t v = 0; v < variants.size(); ++v) {
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
          variants[v].accuracy_pct < variants[choice.preferred].accuracy_pct) {
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
  DULY_CHECK(!config_.devices.empty());
  devices_.resize(config_.devices.size());
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    const EngineDevice& device = config_.devices[d];
    DULY_CHECK(device.slots > 0);
    devices_[d].name = device.name;
    devices_[d].slots.resize(device.slots);
    devices_[d].free_slots = device.slots;
  }
  ask_again_.assign(devices_.size(), kNever);
  for (const Generation& generation : generations_) {
    DULY_CHECK(!generation.variants.empty() && generation.variants.size() <= kMaxVariants);
    DULY_CHECK(generation.default_application < applications_.size());
  }
  stats_.models.resize(generations_.size());
  for (std::size_t g = 0; g < generations_.size(); ++g) {
    stats_.models[g].variant_requests.resize(generations_[g].variants.size());
  }
  stats_.applications.resize(applications_.size());
  stats_.devices.resize(devices_.size());
}

Engine::~Engine() {
  // Intrusive sets must not outlive their members.
  for (Queue& queue : queues_) queue.waiting.clear();
  for (Device& device : devices_) device.booked.clear();
  drops_.clear();
}

View Engine::MakeView(TimePoint now) const {
  View view;
  view.now = now;
  view.devices = devices_;
  view.generations = generations_;
  view.applications = applications_;
  view.heads = heads_;
  view.queues = queues_;
  view.waiting = waiting_;
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
    case Event::Kind::kTimer:
      break;
  }
  DispatchAll(now, effects);
}

TimePoint Engine::NextTimer() const {
  TimePoint next = drops_.empty() ? kNever : drops_.begin()->drop_at;
  for (const TimePoint t : ask_again_) next = std::min(next, t);
  return next;
}

Request& Engine::NewRequest(TimePoint now) {
  std::uint32_t index = 0;
  if (free_requests_.empty()) {
    index = static_cast<std::uint32_t>(requests_.size());
    requests_.emplace_back();
    // Returning a record must never allocate.
    free_requests_.reserve(requests_.size());
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
  request.drop_at = kNever;
  request.demoted = false;
  request.cancelled = false;
  request.queue = kNoIndex;
  request.booked_device = kNoIndex;
  request.booked_work = Duration(0);
  request.predicted = Duration(0);
  request.batch = kNoIndex;
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
  if (queues_.size() >= kIdleQueues) {
    for (QueueIndex q = 0; q < queues_.size() && index == kNoIndex; ++q) {
      if (heads_[q].count == 0) index = q;
    }
  }
  if (index == kNoIndex) {
    index = static_cast<QueueIndex>(queues_.size());
    queues_.emplace_back();
    heads_.emplace_back();
  } else {
    const Queue& old = queues_[index];
    queue_index_.erase(QueueKey{old.generation, old.variants, old.shape});
  }
  Queue& queue = queues_[index];
  queue.generation = key.generation;
  queue.variants = key.variants;
  queue.shape = key.shape;
  heads_[index] = QueueHead{};
  heads_[index].generation = key.generation;
  heads_[index].variants = key.variants;
  queue_index_.emplace(key, index);
  return index;
}

void Engine::RefreshHead(QueueIndex index) {
  const QueueOrder& waiting = queues_[index].waiting;
  QueueHead& head = heads_[index];
  head.count = static_cast<std::uint32_t>(waiting.size());
  if (waiting.empty()) {
    head.due = kNever;
    return;
  }
  const Request& first = *waiting.begin();
  head.due = first.due;
  head.sequence = first.sequence;
  head.demoted = first.demoted;
}

void Engine::Enqueue(Request& request, QueueIndex index) {
  Queue& queue = queues_[index];
  request.queue = index;
  queue.rows += request.rows;
  queue.waiting.insert(request);
  RefreshHead(index);
  if (request.booked_device != kNoIndex) {
    Device& device = devices_[request.booked_device];
    device.booked.insert(request);
    device.booked_work += request.booked_work;
  }
  if (request.drop_at != kNever) drops_.insert(request);
  ++waiting_;
  ++stats_.models[queue.generation].waiting;
}

void Engine::Dequeue(Request& request) {
  Queue& queue = queues_[request.queue];
  queue.waiting.erase(queue.waiting.iterator_to(request));
  queue.rows -= request.rows;
  RefreshHead(request.queue);
  if (request.booked_device != kNoIndex) {
    Device& device = devices_[request.booked_device];
    device.booked.erase(device.booked.iterator_to(request));
    device.booked_work -= request.booked_work;
  }
  if (request.drop_hook.is_linked()) drops_.erase(drops_.iterator_to(request));
  --waiting_;
  --stats_.models[queue.generation].waiting;
}

void Engine::Demote(Request& request) {
  DULY_CHECK(!request.demoted);
  const QueueIndex queue = request.queue;
  Dequeue(request);
  request.demoted = true;
  Enqueue(request, queue);
}

void Engine::OnArrival(TimePoint now, const Arrival& arrival, Effects& effects) {
  DULY_CHECK(arrival.generation < generations_.size());
  Generation& generation = generations_[arrival.generation];
  const ApplicationIndex application_index =
      arrival.application == kNoIndex ? generation.default_application : arrival.application;
  DULY_CHECK(application_index < applications_.size());
  Application& application = applications_[application_index];
  application.last_arrival = now;

  Request& request = NewRequest(now);
  effects.arrived = {request.index, request.sequence};
  request.application = application_index;
  request.rows = arrival.rows;
  request.on_miss = application.on_miss;
  const Terms terms = TermsOf(arrival, application, generation);
  if (terms.slo) request.deadline = SaturatingAdd(now, *terms.slo);
  if (terms.timeout) request.expiry = SaturatingAdd(now, *terms.timeout);
  const Choice choice = VariantsOf(arrival, application, generation);
  request.variant = choice.preferred;

  // A refused request needs a queue only for its account.
  request.queue = FindQueue({arrival.generation, choice.allowed, arrival.shape});
  if (draining_) {
    EndWaiting(now, request, Outcome::kRejected, RejectReason::kShuttingDown, effects);
    return;
  }
  if (choice.allowed == 0 || !generation.accepting) {
    EndWaiting(now, request, Outcome::kRejected, RejectReason::kModelUnavailable, effects);
    return;
  }

  if (ordering_ == QueueOrdering::kArrival) {
    request.due = now;
  } else {
    request.due = request.deadline;
    if (request.expiry != kNever) {
      const Variant& variant = generation.variants[choice.preferred];
      const Duration service = variant.placements.empty()
                                   ? Duration(0)
                                   : variant.placements[0].service.Mean(request.rows);
      request.due = std::min(request.due, SaturatingAdd(request.expiry, service));
    }
    if (request.due == kNever) request.due = SaturatingAdd(now, policy_->best_effort_target());
  }

  victims_.Clear();
  const Admission admission =
      policy_->Admit(MakeView(now), request, arrival.generation, choice.allowed, victims_);
  if (!admission.accept) {
    EndWaiting(now, request, Outcome::kRejected, admission.reason, effects);
    return;
  }
  for (const std::uint32_t index : victims_.indices()) {
    Request& victim = requests_[index];
    DULY_CHECK(victim.state == RequestState::kWaiting && victim.index != request.index);
    Dequeue(victim);
    EndWaiting(now, victim, Outcome::kRejected, RejectReason::kYielded, effects);
  }
  if (waiting_ >= config_.max_waiting) {
    EndWaiting(now, request, Outcome::kRejected, RejectReason::kQueueFull, effects);
    return;
  }
  DULY_CHECK(admission.variants != 0 && (admission.variants & ~choice.allowed) == 0);
  request.demoted = admission.demoted;
  request.variant = admission.variant;
  request.booked_device = admission.device;
  request.booked_work = admission.work;
  request.predicted = admission.predicted;
  request.drop_at = std::min(request.expiry, admission.drop_at);
  Enqueue(request, admission.variants == choice.allowed
                       ? request.queue
                       : FindQueue({arrival.generation, admission.variants, arrival.shape}));
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
  Account(now, request, queues_[request.queue].generation, finish);
  effects.finishes.push_back(finish);
  Free(request);
}

Duration Engine::RetryAfter(TimePoint now) const {
  Duration least = Duration::max();
  for (const Device& device : devices_) {
    Duration work = device.booked_work;
    for (const Slot& slot : device.slots) {
      if (slot.busy) work += std::max(slot.predicted_end - now, Duration(0));
    }
    least = std::min(least, work / static_cast<std::int64_t>(device.slots.size()));
  }
  return least;
}

void Engine::DropDue(TimePoint now, Effects& effects) {
  while (!drops_.empty() && drops_.begin()->drop_at <= now) {
    Request& request = *drops_.begin();
    const bool expired = request.expiry <= now;
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

void Engine::DispatchAll(TimePoint now, Effects& effects) {
  for (DeviceIndex d = 0; d < devices_.size(); ++d) {
    ask_again_[d] = kNever;
    while (devices_[d].free_slots > 0 && waiting_ > 0) {
      const Dispatch decision = policy_->Next(MakeView(now), d);
      ++stats_.dispatch_decisions;
      if (decision.kind == Dispatch::Kind::kIdle) {
        ask_again_[d] = decision.ask_again;
        break;
      }
      DULY_CHECK(decision.queue < queues_.size() && heads_[decision.queue].count > 0);
      Request& first = *queues_[decision.queue].waiting.begin();
      switch (decision.kind) {
        case Dispatch::Kind::kRun:
          Start(now, d, decision, effects);
          break;
        case Dispatch::Kind::kReject:
          Dequeue(first);
          EndWaiting(now, first, Outcome::kRejected, RejectReason::kPredictedLate, effects);
          break;
        case Dispatch::Kind::kDemote:
          Demote(first);
          break;
        case Dispatch::Kind::kIdle:
          break;
      }
    }
    DULY_CHECK(ask_again_[d] > now);
  }
  if (waiting_ == 0) return;
  // Nothing waits for ever: something runs, or a timer will come.
  bool anything_runs = false;
  for (const Device& device : devices_) {
    anything_runs = anything_runs || device.free_slots < device.slots.size();
  }
  DULY_CHECK(anything_runs || NextTimer() != kNever);
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

  if (free_batches_.empty()) {
    free_batches_.push_back(static_cast<std::uint32_t>(batches_.size()));
    batches_.emplace_back();
    free_batches_.reserve(batches_.size());
  }
  const std::uint32_t batch_index = free_batches_.back();
  free_batches_.pop_back();
  Batch& batch = batches_[batch_index];
  DULY_CHECK(!batch.running);
  batch.running = true;
  batch.device = device_index;
  batch.generation = queue.generation;
  batch.variant = decision.variant;
  batch.rows = 0;
  batch.started = now;
  batch.members.clear();
  batch.slot = 0;
  while (batch.slot < device.slots.size() && device.slots[batch.slot].busy) ++batch.slot;
  DULY_CHECK(batch.slot < device.slots.size());

  StartBatch start;
  start.batch = batch_index;
  start.device = device_index;
  start.slot = batch.slot;
  start.generation = queue.generation;
  start.variant = decision.variant;
  start.first_member = static_cast<std::uint32_t>(effects.members.size());
  start.member_count = decision.count;
  for (std::uint32_t i = 0; i < decision.count; ++i) {
    Request& request = *queue.waiting.begin();
    DULY_CHECK(request.arrival <= now && now < request.expiry);
    Dequeue(request);
    request.state = RequestState::kRunning;
    request.started = now;
    request.variant = decision.variant;
    request.batch = batch_index;
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

  device.slots[batch.slot].busy = true;
  device.slots[batch.slot].predicted_end = now + batch.predicted;
  --device.free_slots;
  ++placement->running;
  stats_.models[batch.generation].running += decision.count;
}

void Engine::OnBatchDone(TimePoint now, const BatchDone& done, Effects& effects) {
  DULY_CHECK(done.batch < batches_.size() && batches_[done.batch].running);
  Batch& batch = batches_[done.batch];
  batch.running = false;
  free_batches_.push_back(done.batch);
  Device& device = devices_[batch.device];
  device.slots[batch.slot].busy = false;
  ++device.free_slots;
  auto* placement = const_cast<Placement*>(
      generations_[batch.generation].variants[batch.variant].On(batch.device));
  --placement->running;
  const Duration service = now - batch.started;
  if (!done.failed) placement->service.Observe(batch.rows, service);

  DeviceStats& device_stats = stats_.devices[batch.device];
  device_stats.busy += service;
  ++device_stats.batches;
  device_stats.rows += batch.rows;
  if (batch.predicted > Duration(0)) {
    const double error = static_cast<double>((service - batch.predicted).count()) /
                         static_cast<double>(batch.predicted.count());
    device_stats.prediction_error_sum += error < 0 ? -error : error;
  }
  ModelStats& model = stats_.models[batch.generation];
  model.running -= batch.members.size();
  ++model.execution_count;
  model.last_inference = now;
  if (!done.failed) {
    model.inference_count += batch.rows;
    BatchStats& by_rows = model.batches[batch.rows];
    by_rows.input.Add(done.input);
    by_rows.infer.Add(done.infer);
    by_rows.output.Add(done.output);
  }

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
    if (!done.failed) {
      model.compute_input.Add(done.input);
      model.compute_infer.Add(done.infer);
      model.compute_output.Add(done.output);
      model.compute_input_time.Observe(done.input);
      model.compute_infer_time.Observe(done.infer);
      model.compute_output_time.Observe(done.output);
    }
    Account(now, request, batch.generation, finish);
    effects.finishes.push_back(finish);
    Free(request);
  }
}

void Engine::Account(TimePoint now, const Request& request, GenerationIndex generation,
                     const Finish& finish) {
  ModelStats& model = stats_.models[generation];
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
  const bool answered = finish.outcome == Outcome::kOnTime || finish.outcome == Outcome::kLate;
  (answered ? model.success : model.fail).Add(response);
  if (finish.batch == kNoIndex) return;

  const Duration device_time =
      Duration(finish.service.count() * static_cast<std::int64_t>(request.rows) /
               std::max(finish.batch_rows, 1U));
  application.device_time += device_time;
  if (!answered) return;
  model.queue.Add(finish.waiting);
  model.queue_time.Observe(finish.waiting);
  model.request_time.Observe(response);
  ++model.variant_requests[finish.variant];
  application.response_time.Observe(response);
  const double accuracy = generations_[generation].variants[finish.variant].accuracy_pct;
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
