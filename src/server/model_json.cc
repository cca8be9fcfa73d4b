// SPDX-License-Identifier: Apache-2.0
#include "server/model_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace duly {
namespace {

// Members in the order in which they are written here, as readers of the documents expect them.
using Json = nlohmann::ordered_json;

// Names come from files; bytes that are not UTF-8 must not throw.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json TensorsJson(const std::vector<TensorSpec>& specs) {
  Json tensors = Json::array();
  for (const TensorSpec& spec : specs) {
    tensors.push_back(
        {{"name", spec.name}, {"datatype", ToString(spec.type)}, {"shape", spec.shape}});
  }
  return tensors;
}

std::string ConfigType(DataType type) {
  return type == DataType::kBytes ? "TYPE_STRING" : "TYPE_" + std::string(ToString(type));
}

// Without the row dimension, as config.pbtxt has it.
Shape ConfigDims(const ModelSpec& model, const TensorSpec& tensor) {
  Shape dims = tensor.shape;
  if (model.max_rows > 0 && !dims.empty()) dims.erase(dims.begin());
  return dims;
}

Json ConfigInputs(const ModelSpec& model) {
  Json inputs = Json::array();
  for (const TensorSpec& spec : model.inputs) {
    inputs.push_back({{"name", spec.name},
                      {"data_type", ConfigType(spec.type)},
                      {"format", "FORMAT_NONE"},
                      {"dims", ConfigDims(model, spec)},
                      {"is_shape_tensor", false},
                      {"allow_ragged_batch", false},
                      {"optional", spec.optional}});
  }
  return inputs;
}

Json ConfigOutputs(const ModelSpec& model) {
  Json outputs = Json::array();
  for (const TensorSpec& spec : model.outputs) {
    outputs.push_back({{"name", spec.name},
                       {"data_type", ConfigType(spec.type)},
                       {"dims", ConfigDims(model, spec)},
                       {"label_filename", ""},
                       {"is_shape_tensor", false}});
  }
  return outputs;
}

Json ConfigBatching(const ModelSpec& model) {
  const DynamicBatching settings = model.dynamic_batching.value_or(DynamicBatching());
  const auto micros = [](Duration d) { return d.count() / 1000; };
  return {{"preferred_batch_size", settings.preferred_rows},
          {"max_queue_delay_microseconds", micros(settings.max_queue_delay)},
          {"preserve_ordering", false},
          {"priority_levels", 0},
          {"default_priority_level", 0},
          {"default_queue_policy",
           {{"timeout_action", "REJECT"},
            {"default_timeout_microseconds", micros(settings.default_timeout)},
            {"allow_timeout_override", settings.allow_timeout_override},
            {"max_queue_size", settings.max_queue_requests}}},
          {"priority_queue_policy", Json::object()}};
}

Json StatJson(const DurationStat& stat) {
  return {{"count", stat.count}, {"ns", stat.total.count()}};
}

Json StatsJson(const ModelSpec& spec, const ModelStats& stats, TimePoint now,
               std::int64_t unix_now_ms) {
  const DurationStat none;
  Json batches = Json::array();
  for (const auto& [rows, batch] : stats.batches) {
    batches.push_back({{"batch_size", rows},
                       {"compute_input", StatJson(batch.input)},
                       {"compute_infer", StatJson(batch.infer)},
                       {"compute_output", StatJson(batch.output)}});
  }
  const std::int64_t ago_ms = (now - stats.last_inference).count() / 1'000'000;
  return {{"name", spec.name},
          {"version", std::to_string(spec.version)},
          {"last_inference", stats.inference_count == 0 ? 0 : unix_now_ms - ago_ms},
          {"inference_count", stats.inference_count},
          {"execution_count", stats.execution_count},
          {"inference_stats",
           {{"success", StatJson(stats.success.stat())},
            {"fail", StatJson(stats.fail)},
            {"queue", StatJson(stats.queue.stat())},
            {"compute_input", StatJson(stats.compute_input.stat())},
            {"compute_infer", StatJson(stats.compute_infer.stat())},
            {"compute_output", StatJson(stats.compute_output.stat())},
            {"cache_hit", StatJson(none)},
            {"cache_miss", StatJson(none)}}},
          {"response_stats", Json::object()},
          {"batch_stats", std::move(batches)},
          {"memory_usage", Json::array()}};
}

}  // namespace

std::string ServerMetadataJson(std::string_view version) {
  return Dump({{"name", "duly"},
               {"version", version},
               {"extensions",
                {"schedule_policy", "model_configuration", "binary_tensor_data", "parameters",
                 "statistics"}}});
}

std::string ModelNamesJson(ServedModels models) {
  std::vector<std::string_view> names;
  for (const auto& model : models) names.push_back(model->spec.name);
  std::ranges::sort(names);
  const auto repeated = std::ranges::unique(names);
  names.erase(repeated.begin(), repeated.end());
  return Dump({{"models", names}});
}

std::string ModelMetadataJson(const ModelSpec& spec, std::span<const std::int64_t> versions) {
  Json texts = Json::array();
  for (const std::int64_t version : versions) texts.push_back(std::to_string(version));
  return Dump({{"name", spec.name},
               {"versions", std::move(texts)},
               {"platform", spec.platform},
               {"inputs", TensorsJson(spec.inputs)},
               {"outputs", TensorsJson(spec.outputs)}});
}

std::string ModelConfigJson(const ModelSpec& spec) {
  Json parameters = Json::object();
  for (const auto& [key, value] : spec.parameters) parameters[key] = {{"string_value", value}};
  Json config{
      {"name", spec.name},
      {"platform", spec.platform},
      {"backend", spec.backend},
      {"runtime", ""},
      {"version_policy", {{"latest", {{"num_versions", 1}}}}},
      {"max_batch_size", spec.max_rows},
      {"input", ConfigInputs(spec)},
      {"output", ConfigOutputs(spec)},
      {"batch_input", Json::array()},
      {"batch_output", Json::array()},
      {"optimization", Json::object()},
      {"instance_group",
       {{{"name", spec.name}, {"kind", "KIND_CPU"}, {"count", std::max(spec.instances, 1U)}}}},
      {"default_model_filename", "model.onnx"},
      {"cc_model_filenames", Json::object()},
      {"metric_tags", Json::object()},
      {"parameters", std::move(parameters)},
      {"model_warmup", Json::array()},
      {"model_transaction_policy", {{"decoupled", false}}}};
  // Every model that batches is batched dynamically here, whatever its file says.
  if (spec.max_rows > 0) config["dynamic_batching"] = ConfigBatching(spec);
  return Dump(config);
}

std::string ModelStatsJson(ServedModels models, const EngineStats& stats, TimePoint now,
                           std::int64_t unix_now_ms) {
  Json all = Json::array();
  for (const auto& model : models) {
    if (model->generation >= stats.models.size()) continue;
    all.push_back(StatsJson(model->spec, stats.models[model->generation], now, unix_now_ms));
  }
  return Dump({{"model_stats", std::move(all)}});
}

std::string RepositoryIndexJson(ServedModels models) {
  Json index = Json::array();
  for (const auto& model : models) {
    Json entry{{"name", model->spec.name},
               {"version", std::to_string(model->spec.version)},
               {"state", model->ready ? "READY" : "LOADING"}};
    index.push_back(std::move(entry));
  }
  return Dump(index);
}

}  // namespace duly
