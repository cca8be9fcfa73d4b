// SPDX-License-Identifier: Apache-2.0
#include "server/model_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <limits>
#include <span>
#include <utility>

#include "base/build.h"
#include "server/trace_service.h"

namespace duly {
namespace {

constexpr const char* kNoNames = "repositories have no names: expected none";
constexpr std::array<const char*, 7> kExtensions{
    "classification", "schedule_policy", "model_configuration", "binary_tensor_data", "parameters",
    "statistics",     "logging"};

template <typename Repeated>
void AddShape(const Shape& shape, Repeated& dims) {
  dims.Add(shape.begin(), shape.end());
}

void AddTensors(
    const std::vector<TensorSpec>& specs,
    google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>& tensors) {
  for (const TensorSpec& spec : specs) {
    auto& tensor = *tensors.Add();
    tensor.set_name(spec.name);
    tensor.set_datatype(std::string(ToString(spec.type)));
    AddShape(spec.shape, *tensor.mutable_shape());
  }
}

inference::DataType ConfigType(DataType type) {
  const std::string name =
      type == DataType::kBytes ? "TYPE_STRING" : "TYPE_" + std::string(ToString(type));
  inference::DataType parsed = inference::TYPE_INVALID;
  inference::DataType_Parse(name, &parsed);
  return parsed;
}

// Without the row dimension, as config.pbtxt has it.
Shape ConfigDims(const ModelSpec& model, const TensorSpec& tensor) {
  Shape dims = tensor.shape;
  if (model.max_rows > 0 && !dims.empty()) dims.erase(dims.begin());
  return dims;
}

void FillPolicy(const QueuePolicy& settings, inference::ModelQueuePolicy& policy) {
  if (settings.on_timeout == OnTimeout::kDelay) {
    policy.set_timeout_action(inference::ModelQueuePolicy::DELAY);
  }
  policy.set_default_timeout_microseconds(
      static_cast<std::uint64_t>(settings.default_timeout.count() / 1000));
  policy.set_allow_timeout_override(settings.allow_timeout_override);
  policy.set_max_queue_size(settings.max_requests);
}

void FillBatching(const ModelSpec& model, inference::ModelDynamicBatching& batching) {
  const DynamicBatching settings = model.dynamic_batching.value_or(DynamicBatching());
  for (const std::uint32_t rows : settings.preferred_rows) {
    batching.add_preferred_batch_size(static_cast<std::int32_t>(rows));
  }
  batching.set_max_queue_delay_microseconds(
      static_cast<std::uint64_t>(settings.max_queue_delay.count() / 1000));
  FillPolicy(settings.queue, *batching.mutable_default_queue_policy());
  batching.set_priority_levels(settings.levels.size());
  batching.set_default_priority_level(settings.default_level);
  for (std::size_t i = 0; i < settings.levels.size(); ++i) {
    FillPolicy(settings.levels[i], (*batching.mutable_priority_queue_policy())[i + 1]);
  }
}

inference::ModelConfig ConfigOf(const ModelSpec& spec) {
  inference::ModelConfig config;
  config.set_name(spec.name);
  config.set_platform(spec.platform);
  config.set_backend(spec.backend);
  config.mutable_version_policy()->mutable_latest()->set_num_versions(1);
  config.set_max_batch_size(static_cast<std::int32_t>(spec.max_rows));
  for (const TensorSpec& tensor : spec.inputs) {
    inference::ModelInput& input = *config.add_input();
    input.set_name(tensor.name);
    input.set_data_type(ConfigType(tensor.type));
    AddShape(ConfigDims(spec, tensor), *input.mutable_dims());
    input.set_optional(tensor.optional);
  }
  for (const TensorSpec& tensor : spec.outputs) {
    inference::ModelOutput& output = *config.add_output();
    output.set_name(tensor.name);
    output.set_data_type(ConfigType(tensor.type));
    AddShape(ConfigDims(spec, tensor), *output.mutable_dims());
    for (const auto& [name, file] : spec.label_files) {
      if (name == tensor.name) output.set_label_filename(file);
    }
  }
  inference::ModelInstanceGroup& group = *config.add_instance_group();
  group.set_name(spec.name);
  group.set_kind(inference::ModelInstanceGroup::KIND_CPU);
  group.set_count(static_cast<std::int32_t>(std::max(spec.instances, 1U)));
  config.set_default_model_filename("model.onnx");
  config.mutable_optimization();
  for (const auto& [key, value] : spec.parameters) {
    (*config.mutable_parameters())[key].set_string_value(value);
  }
  if (spec.response_cache) config.mutable_response_cache()->set_enable(true);
  config.mutable_model_transaction_policy()->set_decoupled(false);
  // Every model that batches is batched dynamically here, whatever its file says.
  if (spec.max_rows > 0) FillBatching(spec, *config.mutable_dynamic_batching());
  return config;
}

void Set(const DurationStat& stat, inference::StatisticDuration* message) {
  message->set_count(stat.count);
  message->set_ns(static_cast<std::uint64_t>(stat.total.count()));
}

inference::ModelStatisticsResponse StatisticsOf(
    std::span<const std::shared_ptr<const ServedModel>> models, const Node& node) {
  // Milliseconds since 1970, for what clients compare with their calendar.
  const std::int64_t unix_now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                       std::chrono::system_clock::now().time_since_epoch())
                                       .count();
  const EngineStats all = node.Stats();
  const TimePoint now = node.Now();
  inference::ModelStatisticsResponse response;
  for (const auto& model : models) {
    if (model->generation >= all.models.size()) continue;
    const ModelStats& stats = all.models[model->generation];
    inference::ModelStatistics& message = *response.add_model_stats();
    message.set_name(model->spec.name);
    message.set_version(std::to_string(model->spec.version));
    if (stats.inference_count > 0) {
      const std::int64_t ago_ms = (now - stats.last_inference).count() / 1'000'000;
      message.set_last_inference(static_cast<std::uint64_t>(unix_now_ms - ago_ms));
    }
    message.set_inference_count(stats.inference_count);
    message.set_execution_count(stats.execution_count);
    inference::InferStatistics& infer = *message.mutable_inference_stats();
    Set(stats.success.stat(), infer.mutable_success());
    Set(stats.fail, infer.mutable_fail());
    Set(stats.queue.stat(), infer.mutable_queue());
    Set(stats.compute_input.stat(), infer.mutable_compute_input());
    Set(stats.compute_infer.stat(), infer.mutable_compute_infer());
    Set(stats.compute_output.stat(), infer.mutable_compute_output());
    Set(stats.cache_hit, infer.mutable_cache_hit());
    Set(stats.cache_miss, infer.mutable_cache_miss());
    for (const auto& [rows, batch] : stats.batches) {
      inference::InferBatchStatistics& batch_stats = *message.add_batch_stats();
      batch_stats.set_batch_size(rows);
      Set(batch.input, batch_stats.mutable_compute_input());
      Set(batch.infer, batch_stats.mutable_compute_infer());
      Set(batch.output, batch_stats.mutable_compute_output());
    }
  }
  return response;
}

}  // namespace

Result<std::shared_ptr<const ServedModel>> ModelService::FindModel(std::string_view name,
                                                                   std::string_view version) const {
  std::int64_t number = -1;
  if (!version.empty()) {
    if (version.find_first_not_of("0123456789") != std::string_view::npos) {
      return Error(StatusCode::kInvalidArgument,
                   "model '{}': version '{}': expected a whole number, or none for the highest",
                   name, version);
    }
    // A number that is too large names no version, as any other that is not there.
    const char* const end = version.data() + version.size();
    if (std::from_chars(version.data(), end, number).ec != std::errc()) {
      number = std::numeric_limits<std::int64_t>::max();
    }
  }
  std::shared_ptr<const ServedModel> model = node_.FindModel(name, number);
  if (model != nullptr) return model;
  if (node_.FindModel(name, -1) == nullptr) {
    if (control_ != nullptr) return Error(control_->WhyAbsent(std::string(name)));
    return Error(StatusCode::kNotFound, "unknown model '{}'", name);
  }
  return Error(StatusCode::kNotFound, "model '{}' has no version {}", name, version);
}

inference::ServerMetadataResponse ModelService::ServerMetadata() const {
  inference::ServerMetadataResponse response;
  response.set_name("duly");
  response.set_version(std::string(Version()));
  for (const char* extension : kExtensions) response.add_extensions(extension);
  if (control_ != nullptr) {
    response.add_extensions("model_repository");
    response.add_extensions("model_repository(unload_dependents)");
  }
  if (shared_memory_.registry() != nullptr) response.add_extensions("system_shared_memory");
  if (tracer_ != nullptr) response.add_extensions("trace");
  return response;
}

std::vector<std::string> ModelService::ModelNames() const {
  std::vector<std::string> names;
  for (const auto& model : node_.Models()) names.push_back(model->spec.name);
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Result<inference::ModelMetadataResponse> ModelService::ModelMetadata(
    std::string_view name, std::string_view version) const {
  DULY_ASSIGN_OR_RETURN(const std::shared_ptr<const ServedModel> model, FindModel(name, version));
  const ModelSpec& spec = model->spec;
  inference::ModelMetadataResponse response;
  response.set_name(spec.name);
  for (const auto& other : node_.Models()) {
    if (other->spec.name == spec.name) {
      response.add_versions(std::to_string(other->spec.version));
    }
  }
  response.set_platform(spec.platform);
  AddTensors(spec.inputs, *response.mutable_inputs());
  AddTensors(spec.outputs, *response.mutable_outputs());
  return response;
}

Result<inference::ModelConfig> ModelService::ModelConfig(std::string_view name,
                                                         std::string_view version) const {
  DULY_ASSIGN_OR_RETURN(const std::shared_ptr<const ServedModel> model, FindModel(name, version));
  return ConfigOf(model->spec);
}

Result<inference::ModelStatisticsResponse> ModelService::ModelStatistics(
    std::string_view name, std::string_view version) const {
  DULY_ASSIGN_OR_RETURN(const std::shared_ptr<const ServedModel> model, FindModel(name, version));
  return StatisticsOf(std::span(&model, 1), node_);
}

inference::ModelStatisticsResponse ModelService::AllStatistics() const {
  return StatisticsOf(node_.Models(), node_);
}

Result<inference::RepositoryIndexResponse> ModelService::RepositoryIndex(
    const inference::RepositoryIndexRequest& request) const {
  if (!request.repository_name().empty()) {
    return Error(StatusCode::kUnimplemented, kNoNames);
  }
  if (control_ != nullptr) return control_->Index(request.ready());
  inference::RepositoryIndexResponse response;
  for (const auto& model : node_.Models()) {
    auto& entry = *response.add_models();
    entry.set_name(model->spec.name);
    entry.set_version(std::to_string(model->spec.version));
    entry.set_state("READY");
  }
  return response;
}

Status ModelService::LoadModel(const inference::RepositoryModelLoadRequest& request) const {
  if (Status status = CheckControl(request.repository_name()); !status.ok()) return status;
  LoadParameters parameters;
  constexpr std::string_view kFile = "file:";
  for (const auto& [name, value] : request.parameters()) {
    using Parameter = inference::ModelRepositoryParameter;
    const auto kind = value.parameter_choice_case();
    const bool is_config = name == "config" && kind == Parameter::kStringParam;
    const bool is_file = name.starts_with(kFile) && kind == Parameter::kBytesParam;
    if (is_config) {
      parameters.config_json = value.string_param();
    } else if (is_file) {
      parameters.files[name.substr(kFile.size())] = value.bytes_param();
    } else {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("parameter '{}': expected config, a string, or "
                                "file:VERSION/NAME, bytes",
                                name));
    }
  }
  return control_->LoadForClient(request.model_name(), parameters);
}

Status ModelService::UnloadModel(const inference::RepositoryModelUnloadRequest& request) const {
  if (Status status = CheckControl(request.repository_name()); !status.ok()) return status;
  for (const auto& [name, value] : request.parameters()) {
    // No model has dependents: there are no ensembles.
    if (name == "unload_dependents") continue;
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("parameter '{}': expected unload_dependents", name));
  }
  return control_->UnloadForClient(request.model_name());
}

Result<inference::TraceSettingResponse> ModelService::TraceSetting(
    const inference::TraceSettingRequest& request) const {
  if (tracer_ == nullptr) {
    return Error(StatusCode::kUnimplemented, "requests are not traced here");
  }
  const std::string& model = request.model_name();
  if (!model.empty() && node_.FindModel(model, -1) == nullptr) {
    return Error(StatusCode::kNotFound, "Request for unknown model : {}", model);
  }
  return UpdateTraceSettings(request, *tracer_);
}

TraceHandle ModelService::StartTrace(const InferCall& call) const {
  const ModelSpec& model = call.format.model->spec;
  TraceHandle trace = tracer_->Sample(model.name, model.version, call.format.id);
  if (trace == nullptr) return trace;
  if (trace->tensors) trace->inputs = call.request.inputs;
  trace->Mark(TracePoint::kRequestStart, node_.Now());
  return trace;
}

Status ModelService::CheckControl(std::string_view repository) const {
  if (control_ == nullptr) {
    return Status(StatusCode::kUnimplemented, "models are neither loaded nor unloaded here");
  }
  if (repository.empty()) return Status();
  return Status(StatusCode::kUnimplemented, kNoNames);
}

WorkThread* ModelService::control_thread() const {
  return control_ == nullptr ? nullptr : &control_->thread();
}

}  // namespace duly
