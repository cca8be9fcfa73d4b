// SPDX-License-Identifier: Apache-2.0
#include "sim/simulator.h"

#include <algorithm>

#include "base/check.h"

namespace duly::sim {
namespace {

std::size_t EntriesOf(const std::vector<SimulatedNode>& nodes, std::size_t sources) {
  std::size_t entries = sources + 1;
  for (const SimulatedNode& node : nodes) entries += node.devices.size() + 1;
  return entries;
}

}  // namespace

Simulator::Simulator(std::vector<SimulatedNode> nodes, std::vector<Source> sources, Duration end,
                     EndObserver& observer)
    : end_(end), observer_(observer), agenda_(EntriesOf(nodes, sources.size())) {
  timer_.kind = Event::Kind::kTimer;
  arrival_.kind = Event::Kind::kArrival;
  done_.kind = Event::Kind::kBatchDone;
  cancel_.kind = Event::Kind::kCancel;
  for (SimulatedNode& simulated : nodes) {
    Node& node = nodes_.emplace_back();
    DULY_CHECK(simulated.devices.size() == simulated.config.devices.size());
    for (const EngineDevice& device : simulated.config.devices) {
      node.batches.emplace_back(device.slots);
    }
    node.engine =
        std::make_unique<Engine>(std::move(simulated.config), std::move(simulated.policy));
    node.devices = std::move(simulated.devices);
    node.service_factor = simulated.service_factor;
    node.batch_overhead = simulated.batch_overhead;
    node.to_node = simulated.to_node;
    node.from_node = simulated.from_node;
  }
  for (Source& source : sources) {
    DULY_CHECK(!source.targets.empty());
    sources_.push_back({std::move(source), 0, std::nullopt});
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
      case Entry::Kind::kSource:
        OnSource(entry.index);
        break;
    }
  }
  return agenda_.next_time() != kNever;
}

void Simulator::SetNext(std::uint32_t source) {
  Sending& sending = sources_[source];
  sending.next = sending.source.arrivals->Next();
  if (sending.next && *sending.next >= end_) sending.next.reset();
  agenda_.Set(first_source_entry_ + source, sending.next ? TimePoint(*sending.next) : kNever);
}

void Simulator::OnSource(std::uint32_t source) {
  Sending& sending = sources_[source];
  const Duration scheduled = *sending.next;
  const std::uint32_t target = sending.next_target;
  sending.next_target = target + 1 == sending.source.targets.size() ? 0 : target + 1;
  const std::uint32_t node = sending.source.targets[target].node;
  if (const Duration transit = nodes_[node].to_node; transit > Duration(0)) {
    Later later;
    later.when = now_ + transit;
    later.source = source;
    later.target = target;
    later.scheduled = scheduled;
    Push(later);
  } else {
    Arrive(source, target, scheduled);
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
  if (later.is_cancel) {
    cancel_.request = later.cancelled;
    Handle(later.node, cancel_);
  } else {
    Arrive(later.source, later.target, later.scheduled);
  }
}

void Simulator::Arrive(std::uint32_t source, std::uint32_t target, Duration scheduled) {
  Sending& sending = sources_[source];
  const Source::Target& to = sending.source.targets[target];
  arrival_.arrival = to.arrival;
  Handle(to.node, arrival_, {source, scheduled});
  if (sending.source.cancel_share > 0 &&
      sending.source.cancel.Uniform() < sending.source.cancel_share) {
    Later later;
    later.when = TimePoint(scheduled + sending.source.cancel_after) + nodes_[to.node].to_node;
    later.node = to.node;
    later.is_cancel = true;
    later.cancelled = effects_.arrived;
    Push(later);
  }
}

void Simulator::Handle(std::uint32_t node_index, const Event& event, Sent arrived) {
  Node& node = nodes_[node_index];
  effects_.Clear();
  node.engine->Handle(now_, event, effects_);
  if (node.observer != nullptr) node.observer->OnEvent(now_, event, effects_);
  for (const Finish& finish : effects_.finishes) {
    // Before an arrival others may have ended and left it their index.
    const Sent& sent =
        finish.request == effects_.arrived ? arrived : node.requests[finish.request.index];
    const Duration latency = now_ + node.from_node - TimePoint(sent.scheduled);
    observer_.OnEnded({sent.source, node_index, sent.scheduled, latency, finish});
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
  const ServiceNoise::Run run = device.noise.Next();
  const auto mean_ns =
      static_cast<double>(device.service[start.generation][start.variant].Mean(start.rows).count());
  const auto alone =
      Duration(static_cast<std::int64_t>(mean_ns * node.service_factor * run.factor));
  if (start.batch >= node.runs.size()) node.runs.resize(start.batch + 1);
  node.runs[start.batch] = {now_, run.fails};
  node.batches[start.device][start.slot] = start.batch;
  device.model->Start(now_, {start.slot, device.first_program[start.generation] + start.variant,
                             std::max(alone + node.batch_overhead, Duration(1))});
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
