// SPDX-License-Identifier: Apache-2.0
#include "sim/simulator.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace duly::sim {
namespace {

std::size_t EntriesOf(const std::vector<SimulatedNode>& nodes, std::size_t sources) {
  std::size_t entries = sources + 2;
  for (const SimulatedNode& node : nodes) entries += node.devices.size() + 1;
  return entries;
}

}  // namespace

Simulator::Simulator(std::vector<SimulatedNode> nodes, std::vector<std::unique_ptr<Source>> sources,
                     Duration end, EndObserver& observer, Script* script)
    : end_(end), observer_(observer), script_(script), agenda_(EntriesOf(nodes, sources.size())) {
  timer_.kind = Event::Kind::kTimer;
  arrival_.kind = Event::Kind::kArrival;
  done_.kind = Event::Kind::kBatchDone;
  cancel_.kind = Event::Kind::kCancel;
  load_.kind = Event::Kind::kLoad;
  unload_.kind = Event::Kind::kUnload;
  for (SimulatedNode& simulated : nodes) {
    Node& node = nodes_.emplace_back();
    DULY_CHECK(simulated.devices.size() == simulated.config.devices.size());
    for (const EngineDevice& device : simulated.config.devices) {
      node.batches.emplace_back(device.slots);
    }
    served_.by_node_.emplace_back(simulated.config.generations.size(), true);
    node.engine =
        std::make_unique<Engine>(std::move(simulated.config), std::move(simulated.policy));
    node.devices = std::move(simulated.devices);
    const auto stream = [&](const char* direction) {
      return RandomStream(simulated.seed, fmt::format("link/{}/{}", simulated.name, direction));
    };
    node.to_node.emplace(simulated.to_node, stream("request"));
    node.from_node.emplace(simulated.from_node, stream("response"));
  }
  for (std::unique_ptr<Source>& source : sources) {
    const bool listens = source->listens();
    sources_.push_back({std::move(source), listens});
  }

  // What happens at the same instant happens in this order.
  for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
    nodes_[n].first_entry = static_cast<std::uint32_t>(entries_.size());
    for (std::uint32_t d = 0; d < nodes_[n].devices.size(); ++d) {
      entries_.push_back({Entry::Kind::kDevice, n, d});
    }
  }
  for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
    nodes_[n].timer_entry = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back({Entry::Kind::kTimer, n, 0});
  }
  later_entry_ = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back({Entry::Kind::kLater, 0, 0});
  script_entry_ = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back({Entry::Kind::kScript, 0, 0});
  SetScript();
  first_source_entry_ = static_cast<std::uint32_t>(entries_.size());
  for (std::uint32_t s = 0; s < sources_.size(); ++s) {
    entries_.push_back({Entry::Kind::kSource, 0, s});
    SetNext(s);
  }
}

bool Simulator::Advance(TimePoint until) {
  while (agenda_.next_time() < until) {
    now_ = agenda_.next_time();
    const Entry& entry = entries_[agenda_.next_entry()];
    switch (entry.kind) {
      case Entry::Kind::kDevice:
        OnDevice(entry.node, entry.index);
        break;
      case Entry::Kind::kTimer:
        Handle(entry.node, timer_);
        DULY_CHECK(nodes_[entry.node].engine->NextTimer() > now_);
        break;
      case Entry::Kind::kLater:
        OnLater();
        break;
      case Entry::Kind::kScript:
        script_->Act(now_, *this);
        SetScript();
        break;
      case Entry::Kind::kSource:
        OnSource(entry.index);
        break;
    }
    for (std::uint32_t n = 0; draining_ > 0 && n < nodes_.size(); ++n) FinishUnloads(n);
  }
  return agenda_.next_time() != kNever;
}

void Simulator::SetNext(std::uint32_t source) {
  const std::optional<Duration> next = sources_[source].source->NextTime();
  agenda_.Set(first_source_entry_ + source, next && *next < end_ ? TimePoint(*next) : kNever);
}

void Simulator::SetScript() {
  if (script_ == nullptr) return;
  const TimePoint next = script_->NextTime();
  agenda_.Set(script_entry_, next < TimePoint(end_) ? next : kNever);
}

void Simulator::OnSource(std::uint32_t source) {
  const SentRequest& request = sources_[source].source->Send(served_);
  const TimePoint arrival = nodes_[request.node].to_node->Arrival(now_, request.request_bytes);
  if (arrival > now_) {
    Later later;
    later.when = arrival;
    later.source = source;
    if (unused_.empty()) {
      unused_.push_back(static_cast<std::uint32_t>(travelling_.size()));
      travelling_.emplace_back();
    }
    later.travelling = unused_.back();
    unused_.pop_back();
    travelling_[later.travelling] = request;
    Push(later);
  } else {
    Arrive(source, request);
  }
  SetNext(source);
}

void Simulator::Push(Later later) {
  later.order = pushed_++;
  later_.push(later);
  agenda_.Set(later_entry_, later_.top().when);
}

void Simulator::OnLater() {
  const Later later = later_.top();
  later_.pop();
  agenda_.Set(later_entry_, later_.empty() ? kNever : later_.top().when);
  if (later.cancelled.index != kNoIndex) {
    cancel_.request = later.cancelled;
    Handle(later.node, cancel_);
  } else {
    unused_.push_back(later.travelling);
    Arrive(later.source, travelling_[later.travelling]);
  }
}

void Simulator::Arrive(std::uint32_t source, const SentRequest& request) {
  const Sent sent{source, request.client, request.group, request.scheduled, request.response_bytes};
  if (!served_.Has(request.node, request.arrival.generation)) {
    // As a live server answers: the engine never hears of it.
    Finish finish;
    finish.outcome = Outcome::kRejected;
    finish.reason = RejectReason::kModelUnavailable;
    finish.application = request.arrival.application;
    End(request.node, sent, finish);
    return;
  }
  arrival_.arrival = request.arrival;
  Handle(request.node, arrival_, sent);
  if (request.cancel_after >= Duration(0)) {
    Later later;
    later.when = TimePoint(request.scheduled + request.cancel_after) +
                 nodes_[request.node].to_node->spec().latency;
    later.node = request.node;
    later.cancelled = effects_.arrived;
    Push(later);
  }
}

void Simulator::End(std::uint32_t node, const Sent& sent, const Finish& finish) {
  const TimePoint learnt =
      nodes_[node].from_node->Arrival(now_, IsAnswer(finish.outcome) ? sent.response_bytes : 0);
  const Duration latency = learnt - TimePoint(sent.scheduled);
  observer_.OnEnded({sent.group, node, sent.scheduled, latency, finish});
  Sending& sending = sources_[sent.source];
  if (!sending.listens) return;
  sending.source->OnEnded(sent.client, sent.scheduled + latency);
  SetNext(sent.source);
}

void Simulator::Load(std::uint32_t node, const GenerationLoad& load) {
  DULY_CHECK(!served_.Has(node, load.index));
  load_.load = &load;
  Handle(node, load_);
  served_.by_node_[node][load.index] = true;
}

void Simulator::Unload(std::uint32_t node, GenerationIndex generation) {
  DULY_CHECK(served_.Has(node, generation));
  served_.by_node_[node][generation] = false;
  nodes_[node].draining.push_back(generation);
  ++draining_;
}

void Simulator::FinishUnloads(std::uint32_t node_index) {
  Node& node = nodes_[node_index];
  for (std::size_t i = 0; i < node.draining.size();) {
    const GenerationIndex generation = node.draining[i];
    const ModelStats& stats = node.engine->stats().models[generation];
    if (stats.waiting + stats.running > 0) {
      ++i;
      continue;
    }
    node.draining.erase(node.draining.begin() + static_cast<std::ptrdiff_t>(i));
    --draining_;
    unload_.generation = generation;
    Handle(node_index, unload_);
    script_->OnUnloaded(now_, node_index, generation);
    SetScript();
  }
}

void Simulator::Handle(std::uint32_t node_index, const Event& event, const Sent& arrived) {
  Node& node = nodes_[node_index];
  effects_.Clear();
  node.engine->Handle(now_, event, effects_);
  if (node.observer != nullptr) node.observer->OnEvent(now_, event, effects_);
  for (const Finish& finish : effects_.finishes) {
    // Before an arrival others may have ended and left it their index.
    const Sent& sent =
        finish.request == effects_.arrived ? arrived : node.requests[finish.request.index];
    End(node_index, sent, finish);
  }
  if (event.kind == Event::Kind::kArrival) {
    const std::uint32_t index = effects_.arrived.index;
    if (index >= node.requests.size()) node.requests.resize(index + 1);
    node.requests[index] = arrived;
  }
  for (const StartBatch& start : effects_.starts) StartRun(node, start);
  agenda_.Set(node.timer_entry, node.engine->NextTimer());
}

void Simulator::StartRun(Node& node, const StartBatch& start) {
  SimulatedDevice& device = node.devices[start.device];
  const ServiceModel::Service service = device.service->Next(start);
  if (start.batch >= node.runs.size()) node.runs.resize(start.batch + 1);
  node.runs[start.batch] = {now_, service.fails};
  node.batches[start.device][start.slot] = start.batch;
  device.model->Start(now_, {start.slot, std::max(service.alone, Duration(1)), service.on_chip});
  agenda_.Set(node.first_entry + start.device, device.model->NextEnd());
}

void Simulator::OnDevice(std::uint32_t node_index, DeviceIndex device) {
  Node& node = nodes_[node_index];
  DeviceModel& model = *node.devices[device].model;
  const std::uint32_t slot = model.End();
  agenda_.Set(node.first_entry + device, model.NextEnd());
  done_.done.batch = node.batches[device][slot];
  const Node::Run& run = node.runs[done_.done.batch];
  done_.done.failed = run.fails;
  done_.done.infer = now_ - run.started;
  Handle(node_index, done_);
}

}  // namespace duly::sim
