// SPDX-License-Identifier: Apache-2.0
#include "server/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <sstream>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace duly {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double Micros(Duration d) { return static_cast<double>(d.count()) / 1000; }
double Count(std::uint64_t n) { return static_cast<double>(n); }

class Exposition {
 public:
  MetricFamily& Counter(std::string name, std::string help) {
    return Family(std::move(name), std::move(help), MetricType::Counter);
  }
  MetricFamily& Gauge(std::string name, std::string help) {
    return Family(std::move(name), std::move(help), MetricType::Gauge);
  }
  MetricFamily& HistogramFamily(std::string name, std::string help) {
    return Family(std::move(name), std::move(help), MetricType::Histogram);
  }

  std::string Text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, {families_.begin(), families_.end()});
    return std::move(out).str();
  }

 private:
  MetricFamily& Family(std::string name, std::string help, MetricType type) {
    return families_.emplace_back(MetricFamily{std::move(name), std::move(help), type, {}});
  }

  std::deque<MetricFamily> families_;  // references to its elements stay good
};

void Add(MetricFamily& family, Labels labels, double value) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  if (family.type == MetricType::Gauge) {
    metric.gauge.value = value;
  } else {
    metric.counter.value = value;
  }
}

Labels With(Labels labels, std::string name, std::string_view value) {
  labels.push_back({std::move(name), std::string(value)});
  return labels;
}

// unit: nanoseconds of one unit of the metric.
void Add(MetricFamily& family, Labels labels, const Histogram& histogram, double unit) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.histogram.sample_count = histogram.count();
  metric.histogram.sample_sum = static_cast<double>(histogram.total.count()) / unit;
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < Histogram::kBounds.size(); ++i) {
    cumulative += histogram.counts.at(i);
    metric.histogram.bucket.push_back(
        {cumulative, static_cast<double>(Histogram::kBounds.at(i)) / unit});
  }
}

// What is shown of a model: its labels beside its statistics.
struct ModelRow {
  const ModelSpec& spec;
  const ModelStats& stats;
  Labels labels;
};

// What adds a counter with a value of each model's statistics.
auto CountersOf(const std::vector<ModelRow>& rows, Exposition& out) {
  return [&](std::string name, std::string help, auto value) {
    MetricFamily& family = out.Counter(std::move(name), std::move(help));
    for (const ModelRow& row : rows) Add(family, row.labels, value(row.stats));
  };
}

void AddModelCounters(const std::vector<ModelRow>& rows, Exposition& out) {
  const auto counter = CountersOf(rows, out);
  counter("nv_inference_request_success", "Requests that were answered",
          [](const ModelStats& s) { return Count(s.success.count()); });

  MetricFamily& failure =
      out.Counter("nv_inference_request_failure", "Requests that were not answered, by reason");
  for (const ModelRow& row : rows) {
    const auto outcome = [&](Outcome o) {
      return row.stats.outcomes.at(static_cast<std::size_t>(o));
    };
    const std::pair<std::string_view, std::uint64_t> reasons[] = {
        {"REJECTED", outcome(Outcome::kRejected) + outcome(Outcome::kExpired)},
        {"CANCELED", outcome(Outcome::kCancelled)},
        {"BACKEND", outcome(Outcome::kFailed)},
        {"OTHER", 0}};
    for (const auto& [reason, count] : reasons) {
      Add(failure, With(row.labels, "reason", reason), Count(count));
    }
  }
  counter("nv_inference_count", "Rows that were computed",
          [](const ModelStats& s) { return Count(s.inference_count); });
  counter("nv_inference_exec_count", "Batches that were computed",
          [](const ModelStats& s) { return Count(s.execution_count); });
  counter("nv_inference_request_duration_us", "Time from arrival to answer, summed over answers",
          [](const ModelStats& s) { return Micros(s.success.total); });
  counter("nv_inference_queue_duration_us", "Time in the queue, summed over answers",
          [](const ModelStats& s) { return Micros(s.queue.total); });
  counter("nv_inference_compute_input_duration_us", "Time to gather inputs, summed over requests",
          [](const ModelStats& s) { return Micros(s.compute_input.total); });
  counter("nv_inference_compute_infer_duration_us", "Time to compute, summed over requests",
          [](const ModelStats& s) { return Micros(s.compute_infer.total); });
  counter("nv_inference_compute_output_duration_us",
          "Time to scatter outputs, summed over requests",
          [](const ModelStats& s) { return Micros(s.compute_output.total); });

  MetricFamily& pending =
      out.Gauge("nv_inference_pending_request_count", "Requests that wait for execution");
  MetricFamily& running = out.Gauge("duly_running_requests", "Requests in execution");
  for (const ModelRow& row : rows) {
    Add(pending, row.labels, Count(row.stats.waiting));
    Add(running, row.labels, Count(row.stats.running));
  }
}

// Triton has them for models with a response cache only.
void AddCaches(const std::vector<ModelRow>& rows, Exposition& out) {
  std::vector<ModelRow> cached;
  std::ranges::copy_if(rows, std::back_inserter(cached),
                       [](const ModelRow& row) { return row.spec.response_cache; });
  if (cached.empty()) return;
  const auto counter = CountersOf(cached, out);
  counter("nv_cache_num_hits_per_model", "Requests that the response cache had an answer for",
          [](const ModelStats& s) { return Count(s.cache_hit.count); });
  counter("nv_cache_num_misses_per_model", "Requests that it had none for",
          [](const ModelStats& s) { return Count(s.cache_miss.count); });
  counter("nv_cache_hit_duration_per_model", "Time of lookups that found one, in microseconds",
          [](const ModelStats& s) { return Micros(s.cache_hit.total); });
  counter("nv_cache_miss_duration_per_model",
          "Time of those that did not, and of keeping the answer, in microseconds",
          [](const ModelStats& s) { return Micros(s.cache_miss.total); });
}

void AddModelHistograms(const std::vector<ModelRow>& rows, Exposition& out) {
  const std::tuple<std::string_view, std::string_view, Histogram ModelStats::*> table[] = {
      {"request", "Time from arrival to answer", &ModelStats::success},
      {"queue", "Time in the queue", &ModelStats::queue},
      {"compute_input", "Time to gather the inputs of a batch", &ModelStats::compute_input},
      {"compute_infer", "Time to compute a batch", &ModelStats::compute_infer},
      {"compute_output", "Time to scatter the outputs of a batch", &ModelStats::compute_output}};
  for (const auto& [name, help, member] : table) {
    MetricFamily& family = out.HistogramFamily(
        "nv_inference_" + std::string(name) + "_duration_histogram_us", std::string(help));
    for (const ModelRow& row : rows) Add(family, row.labels, row.stats.*member, 1000);
  }
}

void AddDecisions(const std::vector<ModelRow>& rows, Exposition& out) {
  MetricFamily& rejected =
      out.Counter("duly_rejections_total", "Requests that were rejected, by reason");
  MetricFamily& variants = out.Counter("duly_variant_requests_total", "Answers, by variant");
  for (const ModelRow& row : rows) {
    for (std::size_t i = 1; i < row.stats.reject_reasons.size(); ++i) {
      Add(rejected, With(row.labels, "reason", ToString(static_cast<RejectReason>(i))),
          Count(row.stats.reject_reasons.at(i)));
    }
    const std::size_t known = std::min(row.spec.variants.size(), row.stats.variant_requests.size());
    for (std::size_t i = 0; i < known; ++i) {
      Add(variants, With(row.labels, "variant", row.spec.variants[i].name),
          Count(row.stats.variant_requests[i]));
    }
  }
}

void AddApplications(const EngineStats& stats, Exposition& out) {
  const auto each = [&](MetricFamily& family, auto add) {
    for (const ApplicationStats& application : stats.applications) {
      add(family, Labels{{"application", application.name}}, application);
    }
  };
  each(out.Counter("duly_requests_total", "Requests that ended, by application and outcome"),
       [](MetricFamily& family, const Labels& labels, const ApplicationStats& s) {
         for (const Outcome outcome : kAllOutcomes) {
           Add(family, With(labels, "outcome", ToString(outcome)),
               Count(s.outcomes.at(static_cast<std::size_t>(outcome))));
         }
       });
  each(out.HistogramFamily("duly_response_seconds", "Time from arrival to answer, by application"),
       [](MetricFamily& family, const Labels& labels, const ApplicationStats& s) {
         Add(family, labels, s.response_time, 1e9);
       });
  each(out.Counter("duly_device_seconds_total", "Device time that an application's requests took"),
       [](MetricFamily& family, const Labels& labels, const ApplicationStats& s) {
         Add(family, labels, ToSeconds(s.device_time));
       });
  each(out.Counter("duly_on_time_device_seconds_total",
                   "Device time of the answers that were on time"),
       [](MetricFamily& family, const Labels& labels, const ApplicationStats& s) {
         Add(family, labels, ToSeconds(s.on_time_device_time));
       });
  each(out.Counter("duly_accuracy_points_total",
                   "Accuracy of the answering variants in percentage points, summed over answers"),
       [](MetricFamily& family, const Labels& labels, const ApplicationStats& s) {
         Add(family, labels, s.accuracy_sum_pct);
       });
  each(out.Counter("duly_accuracy_answers_total",
                   "Answers of variants whose accuracy is known: the divisor of the sum above"),
       [](MetricFamily& family, const Labels& labels, const ApplicationStats& s) {
         Add(family, labels, Count(s.accuracy_count));
       });
  each(out.Gauge("duly_accuracy_budget_mean_loss_points",
                 "Mean loss of accuracy over the last answers of an application with a budget"),
       [](MetricFamily& family, const Labels& labels, const ApplicationStats& s) {
         if (s.window_loss_pct) Add(family, labels, *s.window_loss_pct);
       });
}

void AddDevices(const EngineStats& stats, Exposition& out) {
  const auto each = [&](std::string name, std::string help, auto value) {
    MetricFamily& family = out.Counter(std::move(name), std::move(help));
    for (const DeviceStats& device : stats.devices) {
      Add(family, {{"device", device.name}}, value(device));
    }
  };
  each("duly_device_busy_seconds_total", "Time that slots were executing, summed over slots",
       [](const DeviceStats& s) { return ToSeconds(s.busy); });
  each("duly_device_batches_total", "Batches that were executed",
       [](const DeviceStats& s) { return Count(s.batches); });
  each("duly_device_rows_total", "Rows that were executed",
       [](const DeviceStats& s) { return Count(s.rows); });
  each("duly_prediction_error_total",
       "Relative errors |observed - predicted| / predicted of service times, summed over batches",
       [](const DeviceStats& s) { return s.prediction_error_sum; });

  MetricFamily& slots = out.Gauge("duly_device_slots", "Batches that run at once");
  for (const DeviceStats& device : stats.devices) {
    Add(slots, {{"device", device.name}}, Count(device.slots));
  }
}

void AddLimits(const LimitCounts& limits, Exposition& out) {
  if (!limits.tokens.empty()) {
    MetricFamily& refused = out.Counter("duly_token_refusals_total",
                                        "Requests beyond a limit of their token, by limit");
    MetricFamily& in_flight =
        out.Gauge("duly_token_requests_in_flight", "Requests of a token that has limits");
    for (const TokenCounts& token : limits.tokens) {
      const Labels labels{{"token", token.name}};
      Add(refused, With(labels, "limit", "max_in_flight"), Count(token.refused_in_flight));
      Add(refused, With(labels, "limit", "max_rate"), Count(token.refused_rate));
      Add(in_flight, labels, token.in_flight);
    }
  }
  if (limits.connections) {
    Add(out.Counter("duly_connection_refusals_total",
                    "Connections beyond --max-connections-per-client"),
        {}, Count(*limits.connections));
  }
}

void AddHeats(std::span<const ApplicationHeat> heats, Exposition& out) {
  if (heats.empty()) return;
  MetricFamily& hot = out.Gauge("duly_hot_application", "1: the application has left its SLO");
  MetricFamily& times =
      out.Counter("duly_hot_spots_total", "Times that the application has left its SLO");
  for (const ApplicationHeat& heat : heats) {
    const Labels labels{{"application", heat.name}};
    Add(hot, labels, heat.is_hot ? 1 : 0);
    Add(times, labels, Count(heat.times_hot));
  }
}

}  // namespace

std::string MetricsText(std::span<const std::shared_ptr<const ServedModel>> models,
                        const EngineStats& stats, const ServerCounts& counts) {
  std::vector<ModelRow> rows;
  for (const auto& model : models) {
    if (model->generation >= stats.models.size()) continue;
    rows.push_back(
        {model->spec, stats.models[model->generation],
         Labels{{"model", model->spec.name}, {"version", std::to_string(model->spec.version)}}});
  }
  Exposition out;
  AddModelCounters(rows, out);
  AddCaches(rows, out);
  AddModelHistograms(rows, out);
  AddDecisions(rows, out);
  AddApplications(stats, out);
  AddDevices(stats, out);
  Add(out.Counter("duly_dispatch_decisions_total", "Times that a policy was asked what to run"), {},
      Count(stats.dispatch_decisions));
  Add(out.Counter("duly_engine_events_total", "Events that the engine handled"), {},
      Count(stats.events));
  AddLimits(counts.limits, out);
  AddHeats(counts.heats, out);
  if (counts.dropped_traces) {
    Add(out.Counter("duly_dropped_traces_total", "Traces that could not be written quickly enough"),
        {}, Count(*counts.dropped_traces));
  }
  return out.Text();
}

}  // namespace duly
