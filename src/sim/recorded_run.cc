// SPDX-License-Identifier: Apache-2.0
#include "sim/recorded_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "telemetry/replay.h"

namespace duly::sim {
namespace {

class RunReader {
 public:
  explicit RunReader(EventLogReader& reader) : reader_(reader) {
    run_.config = reader.header().config;
    generations_.resize(run_.config.generations.size());
    std::iota(generations_.begin(), generations_.end(), 0U);
  }

  Result<RecordedRun> Read() {
    for (;;) {
      DULY_ASSIGN_OR_RETURN(const LogRecord* record, reader_.Next());
      if (record == nullptr) break;
      if (record->kind == LogRecord::Kind::kGap) {
        return Error(
            Fault(fmt::format("{} events are missing here: expected a log without gaps, "
                              "because what arrived then is not known",
                              record->lost)));
      }
      if (record->kind == LogRecord::Kind::kEnd) continue;
      if (const Status added = Add(*record); !added.ok()) return Error(added);
    }
    run_.config.applications = reader_.config().applications;
    return std::move(run_);
  }

 private:
  Status Fault(std::string_view what) const {
    return Status(StatusCode::kInvalidArgument, fmt::format("{}: {}", reader_.Place(), what));
  }

  Status Add(const LogRecord& record) {
    const Event& event = record.event;
    if (std::string what = Impossible(event, record.time, reader_.header().start, reader_.config());
        !what.empty()) {
      return Fault(what + ": expected what a driver can bring");
    }
    switch (event.kind) {
      case Event::Kind::kArrival:
        if (!draining_) AddArrival(record);
        break;
      case Event::Kind::kCancel:
        if (const auto found = request_of_.find(event.request.sequence);
            found != request_of_.end()) {
          SentRequest& request = run_.requests[found->second];
          request.cancel_after = SinceStart(record.time) - request.scheduled;
        }
        break;
      case Event::Kind::kBatchDone:
        if (const auto running = running_.find(event.done.batch); running != running_.end()) {
          RecordedRun::Batch batch = running->second.batch;
          batch.service = record.time - running->second.started;
          batch.failed = event.done.failed;
          run_.batches.push_back(batch);
          running_.erase(running);
        }
        break;
      case Event::Kind::kLoad:
        // What it replaces stays: under another policy requests of that may still wait.
        generations_.resize(std::max<std::size_t>(generations_.size(), event.load->index + 1));
        generations_[event.load->index] =
            static_cast<GenerationIndex>(run_.config.generations.size());
        run_.config.generations.push_back(event.load->generation);
        break;
      case Event::Kind::kDrain:
        draining_ = true;
        break;
      case Event::Kind::kTimer:
      case Event::Kind::kUnload:
        break;
    }
    for (const Finish& finish : record.effects.finishes) {
      request_of_.erase(finish.request.sequence);
    }
    for (const StartBatch& start : record.effects.starts) {
      running_[start.batch] = {
          {start.device, generations_[start.generation], start.variant, start.rows}, record.time};
    }
    return Status();
  }

  void AddArrival(const LogRecord& record) {
    request_of_[record.effects.arrived.sequence] = run_.requests.size();
    SentRequest& request = run_.requests.emplace_back();
    request.scheduled = SinceStart(record.time);
    request.arrival = record.event.arrival;
    request.arrival.generation = generations_[request.arrival.generation];
  }

  Duration SinceStart(TimePoint time) const { return time - reader_.header().start; }

  struct Running {
    RecordedRun::Batch batch;
    TimePoint started{};
  };
  EventLogReader& reader_;
  RecordedRun run_;
  std::vector<GenerationIndex> generations_;  // the log's to the run's
  bool draining_ = false;
  std::unordered_map<std::uint64_t, std::size_t> request_of_;  // those that live, by sequence
  std::unordered_map<std::uint32_t, Running> running_;         // by batch
};

class RecordedSource final : public Source {
 public:
  explicit RecordedSource(const std::vector<SentRequest>& requests) : requests_(requests) {}
  std::optional<Duration> NextTime() override {
    if (next_ == requests_.size()) return std::nullopt;
    return requests_[next_].scheduled;
  }
  const SentRequest& Send(const Served& /*served*/) override { return requests_[next_++]; }

 private:
  const std::vector<SentRequest>& requests_;
  std::size_t next_ = 0;
};

// The recorded batches of one variant on one device.
class RecordedVariant {
 public:
  void Add(const RecordedRun::Batch& batch) { batches_.push_back(batch); }

  // unrecorded: what it takes where there are no batches.
  void Finish(LatencyCurve unrecorded, double factor) {
    curve_ = std::move(unrecorded);
    factor_ = factor;
    std::map<std::uint32_t, std::pair<double, std::uint32_t>> by_rows;  // sum, count
    for (const RecordedRun::Batch& batch : batches_) {
      auto& [sum, count] = by_rows[batch.rows];
      sum += static_cast<double>(batch.service.count());
      ++count;
    }
    std::vector<ProfilePoint> points;
    for (const auto& [rows, seen] : by_rows) {
      const auto mean = Duration(static_cast<std::int64_t>(seen.first / seen.second));
      points.push_back({.rows = rows, .mean = std::max(mean, Duration(1)), .runs = seen.second});
    }
    if (Result<LatencyCurve> recorded = LatencyCurve::Create(points); recorded) {
      curve_ = *std::move(recorded);
      factor_ = 1;
    }
  }

  ServiceModel::Service Next(std::uint32_t rows) {
    ServiceModel::Service service;
    double factor = factor_;
    if (!batches_.empty()) {
      const RecordedRun::Batch& like = batches_[next_];
      next_ = next_ + 1 == batches_.size() ? 0 : next_ + 1;
      factor *= static_cast<double>(like.service.count()) /
                static_cast<double>(curve_.Mean(like.rows).count());
      service.fails = like.failed;
    }
    service.alone = Duration(
        static_cast<std::int64_t>(factor * static_cast<double>(curve_.Mean(rows).count())));
    return service;
  }

 private:
  std::vector<RecordedRun::Batch> batches_;
  LatencyCurve curve_;
  double factor_ = 1;
  std::size_t next_ = 0;
};

class RecordedService final : public ServiceModel {
 public:
  RecordedService(const RecordedRun& run, DeviceIndex device) {
    const std::vector<Generation>& generations = run.config.generations;
    for (const Generation& generation : generations) {
      variants_.emplace_back(generation.variants.size());
    }
    const auto curve_of = [&](GenerationIndex g, std::size_t v) {
      const Placement* const placement = generations[g].variants[v].On(device);
      return placement == nullptr ? LatencyCurve() : placement->service.curve();
    };
    double took = 0;
    double profiled = 0;
    for (const RecordedRun::Batch& batch : run.batches) {
      if (batch.device != device) continue;
      variants_[batch.generation][batch.variant].Add(batch);
      const Duration alone = curve_of(batch.generation, batch.variant).Mean(batch.rows);
      took += static_cast<double>(batch.service.count());
      profiled += static_cast<double>(alone.count());
    }
    const double factor = profiled > 0 ? took / profiled : 1;
    for (GenerationIndex g = 0; g < generations.size(); ++g) {
      for (std::size_t v = 0; v < variants_[g].size(); ++v) {
        variants_[g][v].Finish(curve_of(g, v), factor);
      }
    }
  }

  Service Next(const StartBatch& start) override {
    return variants_[start.generation][start.variant].Next(start.rows);
  }

 private:
  std::vector<std::vector<RecordedVariant>> variants_;  // by generation
};

class NobodyCounts final : public EndObserver {
 public:
  void OnEnded(const Ended& /*ended*/) override {}
};

}  // namespace

Result<RecordedRun> ReadRecordedRun(EventLogReader& reader) { return RunReader(reader).Read(); }

void Simulate(const RecordedRun& run, std::unique_ptr<DispatchPolicy> policy,
              EventObserver& observer) {
  SimulatedNode node;
  node.config = run.config;
  node.policy = std::move(policy);
  for (DeviceIndex d = 0; d < run.config.devices.size(); ++d) {
    // What batches did to each other is in what they took.
    node.devices.push_back({MakeSharedDevice(IndependentSpeed(run.config.devices[d].slots)),
                            std::make_unique<RecordedService>(run, d)});
  }
  std::vector<SimulatedNode> nodes;
  nodes.push_back(std::move(node));
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<RecordedSource>(run.requests));
  NobodyCounts nobody;
  Simulator simulator(std::move(nodes), std::move(sources), Duration::max(), nobody);
  simulator.Observe(0, observer);
  simulator.Advance(kNever);
}

}  // namespace duly::sim
