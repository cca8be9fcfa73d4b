// SPDX-License-Identifier: Apache-2.0
#include "runtime/caching_node.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "runtime/response_cache.h"

namespace duly {
namespace {

// What the cache did for a generation or an application, beside the engine.
struct ModelCounts {
  std::weak_ptr<const void> generation;  // ServedModel::use
  Histogram response_time;               // of hits
  DurationStat hit;
  DurationStat miss;
  std::vector<std::uint64_t> variants;
};
struct ApplicationCounts {
  Histogram response_time;
  std::uint64_t accuracy_count = 0;
  double accuracy_sum_pct = 0;
};

void Merge(const Histogram& from, Histogram& to) {
  for (std::size_t i = 0; i < to.counts.size(); ++i) to.counts.at(i) += from.counts.at(i);
  to.total += from.total;
}

template <typename T>
T& At(std::vector<T>& values, std::size_t index) {
  if (values.size() <= index) values.resize(index + 1);
  return values[index];
}

class Counts {
 public:
  void Hit(const InferRequest& request, std::uint32_t variant, Duration lookup) {
    const ModelSpec& spec = request.model->spec;
    const ApplicationIndex application = request.application == kNoIndex
                                             ? request.model->FindApplication(spec.name)
                                             : request.application;
    const MutexLock lock(mutex_);
    ModelCounts& model = Of(*request.model);
    model.response_time.Observe(lookup);
    model.hit.Add(lookup);
    ++At(model.variants, variant);
    if (application == kNoIndex) return;
    ApplicationCounts& sender = At(applications_, application);
    sender.response_time.Observe(lookup);
    if (const std::optional<double> accuracy = spec.variants[variant].accuracy_pct) {
      ++sender.accuracy_count;
      sender.accuracy_sum_pct += *accuracy;
    }
  }

  void Miss(const ServedModel& model, Duration lookup_and_insert) {
    const MutexLock lock(mutex_);
    Of(model).miss.Add(lookup_and_insert);
  }

  void AddTo(EngineStats& stats,
             const std::vector<std::shared_ptr<const ServedModel>>& served) const {
    const MutexLock lock(mutex_);
    for (const auto& model : served) {
      const GenerationIndex index = model->generation;
      if (index >= std::min(models_.size(), stats.models.size())) continue;
      const ModelCounts& counts = models_[index];
      if (!IsGenerationOf(counts.generation, *model)) continue;
      ModelStats& to = stats.models[index];
      Merge(counts.response_time, to.success);
      to.queue.Observe(Duration(0), counts.hit.count);
      to.outcomes.at(static_cast<std::size_t>(Outcome::kOnTime)) += counts.hit.count;
      for (std::size_t i = 0; i < counts.variants.size(); ++i) {
        At(to.variant_requests, i) += counts.variants[i];
      }
      to.cache_hit = counts.hit;
      to.cache_miss = counts.miss;
    }
    for (std::size_t i = 0; i < std::min(applications_.size(), stats.applications.size()); ++i) {
      const ApplicationCounts& counts = applications_[i];
      ApplicationStats& to = stats.applications[i];
      Merge(counts.response_time, to.response_time);
      to.outcomes.at(static_cast<std::size_t>(Outcome::kOnTime)) += counts.response_time.count();
      to.accuracy_count += counts.accuracy_count;
      to.accuracy_sum_pct += counts.accuracy_sum_pct;
    }
  }

 private:
  // From the start for a generation that has the index of a former one.
  ModelCounts& Of(const ServedModel& model) DULY_REQUIRES(mutex_) {
    ModelCounts& counts = At(models_, model.generation);
    if (!IsGenerationOf(counts.generation, model)) {
      counts = ModelCounts();
      counts.generation = model.use;
    }
    return counts;
  }

  mutable Mutex mutex_;
  std::vector<ModelCounts> models_ DULY_GUARDED_BY(mutex_);              // by generation
  std::vector<ApplicationCounts> applications_ DULY_GUARDED_BY(mutex_);  // by ApplicationIndex
};

// On its way back, keeps an answer that can be given again.
class KeepingSink final : public ResponseSink {
 public:
  struct Asked {
    ResponseCache::Key key;
    std::shared_ptr<const ServedModel> model;
    std::uint32_t variant;  // that may be kept
    Duration lookup;
  };

  KeepingSink(const Node& node, ResponseCache& cache, Counts& counts, Asked asked,
              ResponseHandle response)
      : node_(node),
        cache_(cache),
        counts_(counts),
        asked_(std::move(asked)),
        response_(std::move(response)) {}

  void OnResponse(InferResponse response) override {
    const TimePoint start = node_.Now();
    if (IsAnswer(response.outcome) && response.status.ok() &&
        response.report.variant == asked_.model->spec.variants[asked_.variant].name) {
      cache_.Insert(asked_.key, *asked_.model,
                    {.variant = asked_.variant,
                     .device = response.report.device,
                     .batch_rows = response.report.batch_rows,
                     .outputs = response.outputs});
    }
    counts_.Miss(*asked_.model, asked_.lookup + (node_.Now() - start));
    // The generation is held by the request no longer than by the answer.
    asked_.model.reset();
    response_.Finish(std::move(response));
  }

 private:
  const Node& node_;
  ResponseCache& cache_;
  Counts& counts_;
  Asked asked_;
  ResponseHandle response_;
};

class CachingNode final : public Node {
 public:
  CachingNode(std::unique_ptr<Node> node, std::size_t bytes)
      : cache_(bytes), node_(std::move(node)) {}

  RequestId Submit(InferRequest request, ResponseHandle response) override {
    const ServedModel& model = *request.model;
    if (!model.spec.response_cache || draining_.load(std::memory_order_relaxed)) {
      return node_->Submit(std::move(request), std::move(response));
    }
    const TimePoint start = node_->Now();
    const ResponseCache::Key key = ResponseCache::KeyOf(request);
    std::optional<CachedAnswer> answer = cache_.Find(key, model);
    const TimePoint end = node_->Now();
    if (!answer) {
      const auto variant = std::has_single_bit(request.variants)
                               ? static_cast<std::uint32_t>(std::countr_zero(request.variants))
                               : static_cast<std::uint32_t>(model.spec.default_variant);
      auto sink = std::make_shared<KeepingSink>(
          *node_, cache_, counts_,
          KeepingSink::Asked{
              .key = key, .model = request.model, .variant = variant, .lookup = end - start},
          std::move(response));
      return node_->Submit(std::move(request), ResponseHandle(std::move(sink)));
    }
    counts_.Hit(request, answer->variant, end - start);
    const VariantSpec& variant = model.spec.variants[answer->variant];
    InferResponse hit;
    hit.outcome = Outcome::kOnTime;
    hit.outputs = std::move(answer->outputs);
    hit.report.variant = variant.name;
    hit.report.accuracy_pct = variant.accuracy_pct;
    hit.report.device = answer->device;
    hit.report.batch_rows = answer->batch_rows;
    hit.report.cached = true;
    hit.report.ended = end;
    response.Finish(std::move(hit));
    return {};
  }

  void Drain() override {
    draining_.store(true, std::memory_order_relaxed);
    node_->Drain();
  }
  EngineStats Stats() const override {
    EngineStats stats = node_->Stats();
    counts_.AddTo(stats, node_->Models());
    return stats;
  }

  std::shared_ptr<const ServedModel> FindModel(std::string_view name,
                                               std::int64_t version) const override {
    return node_->FindModel(name, version);
  }
  std::vector<std::shared_ptr<const ServedModel>> Models() const override {
    return node_->Models();
  }
  Status Load(std::vector<ModelSpec> versions, LoadOrder order) override {
    return node_->Load(std::move(versions), order);
  }
  bool Unload(std::string_view name) override { return node_->Unload(name); }
  std::vector<ModelVersion> Leaving() const override { return node_->Leaving(); }
  std::vector<NodeService> Services() const override { return node_->Services(); }
  Result<ApplicationIndex> AddApplication(const ApplicationSpec& spec) override {
    return node_->AddApplication(spec);
  }
  bool RemoveApplication(const std::string& name, const std::string& model) override {
    return node_->RemoveApplication(name, model);
  }
  void Cancel(RequestId id) override { node_->Cancel(id); }
  std::size_t LiveRequests() const override { return node_->LiveRequests(); }
  TimePoint Now() const override { return node_->Now(); }

 private:
  ResponseCache cache_;
  Counts counts_;
  std::atomic<bool> draining_{false};
  const std::unique_ptr<Node> node_;  // ends first: its answers pass here
};

}  // namespace

std::unique_ptr<Node> MakeCachingNode(std::unique_ptr<Node> node, std::size_t bytes) {
  return std::make_unique<CachingNode>(std::move(node), bytes);
}

}  // namespace duly
