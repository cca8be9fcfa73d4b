// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_header.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "engine/load.h"
#include "model/model_spec.h"
#include "model/outcome.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

// Bound what a damaged or foreign file can make the engine allocate, and its sums of times.
constexpr std::uint32_t kMaxSlots = 1U << 16;               // of all devices
constexpr std::uint32_t kMaxRows = 1U << 20;                // of a batch
constexpr std::uint64_t kMaxBatchMembers = 1U << 24;        // all batches together
constexpr std::int64_t kMaxMeanNs = std::int64_t{1} << 42;  // of a batch: more than an hour

std::string Dump(const Json& json) {
  // A name that is not UTF-8 must not stop the recording.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The library's own conversion takes fractions, and wraps what does not fit.
template <typename T>
T Whole(const Json& json) {
  if (json.is_number_unsigned()) {
    const auto number = json.get<std::uint64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  } else if (json.is_number_integer()) {
    const auto number = json.get<std::int64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  }
  throw std::range_error(Dump(json) + " is not a whole number in range");
}

void PutDuration(Json& json, const char* key, const std::optional<Duration>& duration) {
  if (duration) json[key] = duration->count();
}

std::optional<Duration> GetDuration(const Json& json, const char* key) {
  if (!json.contains(key)) return std::nullopt;
  return Duration(Whole<std::int64_t>(json.at(key)));
}

Json ToJson(const QueuePolicy& policy) {
  return {{"max_requests", policy.max_requests},
          {"default_timeout_ns", policy.default_timeout.count()},
          {"allow_timeout_override", policy.allow_timeout_override},
          {"delay", policy.on_timeout == OnTimeout::kDelay}};
}

QueuePolicy PolicyFrom(const Json& json) {
  QueuePolicy policy;
  policy.max_requests = Whole<std::uint32_t>(json.at("max_requests"));
  policy.default_timeout = Duration(Whole<std::int64_t>(json.at("default_timeout_ns")));
  policy.allow_timeout_override = json.at("allow_timeout_override").get<bool>();
  policy.on_timeout = json.at("delay").get<bool>() ? OnTimeout::kDelay : OnTimeout::kReject;
  return policy;
}

Json ToJson(const DynamicBatching& batching) {
  Json levels = Json::array();
  for (const QueuePolicy& level : batching.levels) levels.push_back(ToJson(level));
  return {{"preferred_rows", batching.preferred_rows},
          {"max_queue_delay_ns", batching.max_queue_delay.count()},
          {"queue", ToJson(batching.queue)},
          {"levels", std::move(levels)},
          {"default_level", batching.default_level}};
}

DynamicBatching BatchingFrom(const Json& json) {
  DynamicBatching batching;
  for (const Json& rows : json.at("preferred_rows")) {
    batching.preferred_rows.push_back(Whole<std::uint32_t>(rows));
  }
  batching.max_queue_delay = Duration(Whole<std::int64_t>(json.at("max_queue_delay_ns")));
  batching.queue = PolicyFrom(json.at("queue"));
  for (const Json& level : json.at("levels")) batching.levels.push_back(PolicyFrom(level));
  batching.default_level = Whole<std::uint32_t>(json.at("default_level"));
  return batching;
}

Json ToJson(const Variant& variant) {
  Json placements = Json::array();
  for (const Placement& placement : variant.placements) {
    Json curve = Json::array();
    for (const LatencyCurve::Knot& knot : placement.service.curve().knots()) {
      curve.push_back({knot.rows, knot.mean_ns});
    }
    placements.push_back({{"device", placement.device},
                          {"instances", placement.instances},
                          {"mean_ns_by_rows", std::move(curve)}});
  }
  return {{"name", variant.name},
          {"accuracy_pct", variant.accuracy_pct},
          {"placements", std::move(placements)}};
}

Result<Variant> VariantFrom(const Json& json) {
  Variant variant;
  variant.name = json.at("name").get<std::string>();
  variant.accuracy_pct = json.at("accuracy_pct").get<double>();
  for (const Json& entry : json.at("placements")) {
    std::vector<ProfilePoint> points;
    for (const Json& knot : entry.at("mean_ns_by_rows")) {
      ProfilePoint point;
      point.rows = Whole<std::uint32_t>(knot.at(0));
      point.mean = Duration(Whole<std::int64_t>(knot.at(1)));
      if (point.rows > kMaxRows || point.mean > Duration(kMaxMeanNs)) {
        return Error(StatusCode::kInvalidArgument, "variant '{}': {} rows take {} ns", variant.name,
                     point.rows, point.mean.count());
      }
      points.push_back(point);
    }
    Placement placement;
    placement.device = Whole<DeviceIndex>(entry.at("device"));
    placement.instances = Whole<std::uint32_t>(entry.at("instances"));
    DULY_ASSIGN_OR_RETURN(LatencyCurve curve, LatencyCurve::Create(points));
    placement.service = ServicePrediction(std::move(curve));
    variant.placements.push_back(std::move(placement));
  }
  return variant;
}

Json ToJson(const Generation& generation) {
  Json variants = Json::array();
  for (const Variant& variant : generation.variants) variants.push_back(ToJson(variant));
  Json json = {{"model", generation.model},
               {"version", generation.version},
               {"max_rows", generation.max_rows},
               {"default_variant", generation.default_variant},
               {"default_application", generation.default_application},
               {"variants", std::move(variants)}};
  if (generation.batching) json["dynamic_batching"] = ToJson(*generation.batching);
  PutDuration(json, "slo_ns", generation.slo);
  PutDuration(json, "timeout_ns", generation.timeout);
  return json;
}

Result<Generation> GenerationFrom(const Json& json) {
  Generation generation;
  generation.model = json.at("model").get<std::string>();
  generation.version = Whole<std::int64_t>(json.at("version"));
  generation.max_rows = Whole<std::uint32_t>(json.at("max_rows"));
  if (generation.max_rows > kMaxRows) {
    return Error(StatusCode::kInvalidArgument, "model '{}' has max_rows {}", generation.model,
                 generation.max_rows);
  }
  generation.default_variant = Whole<std::uint32_t>(json.at("default_variant"));
  generation.default_application = Whole<ApplicationIndex>(json.at("default_application"));
  for (const Json& entry : json.at("variants")) {
    DULY_ASSIGN_OR_RETURN(Variant variant, VariantFrom(entry));
    generation.variants.push_back(std::move(variant));
  }
  if (json.contains("dynamic_batching")) {
    generation.batching = BatchingFrom(json.at("dynamic_batching"));
  }
  generation.slo = GetDuration(json, "slo_ns");
  generation.timeout = GetDuration(json, "timeout_ns");
  return generation;
}

Json ToJson(const Application& application) {
  Json json = {{"name", application.name},
               {"weight", application.weight},
               {"on_miss", ToString(application.on_miss)},
               {"min_accuracy_pct", application.min_accuracy_pct}};
  PutDuration(json, "slo_ns", application.slo);
  PutDuration(json, "timeout_ns", application.timeout);
  if (const std::optional<AccuracyBudget>& budget = application.accuracy_budget) {
    json["accuracy_budget"] = {{"mean_loss_pct", budget->mean_loss_pct},
                               {"answers", budget->answers}};
  }
  return json;
}

template <typename Element>
Json ListOf(const std::vector<Element>& elements) {
  Json list = Json::array();
  for (const Element& element : elements) list.push_back(ToJson(element));
  return list;
}

Result<Application> ApplicationFrom(const Json& json) {
  Application application;
  application.name = json.at("name").get<std::string>();
  application.weight = json.at("weight").get<double>();
  application.min_accuracy_pct = json.at("min_accuracy_pct").get<double>();
  application.slo = GetDuration(json, "slo_ns");
  application.timeout = GetDuration(json, "timeout_ns");
  if (json.contains("accuracy_budget")) {
    const Json& budget = json.at("accuracy_budget");
    application.accuracy_budget = {budget.at("mean_loss_pct").get<double>(),
                                   Whole<std::uint32_t>(budget.at("answers"))};
  }
  const std::string on_miss = json.at("on_miss").get<std::string>();
  for (const OnMiss value : {OnMiss::kRefuse, OnMiss::kServeLate, OnMiss::kDegrade}) {
    if (ToString(value) == on_miss) {
      application.on_miss = value;
      return application;
    }
  }
  return Error(StatusCode::kInvalidArgument, "application '{}' has on_miss '{}'", application.name,
               on_miss);
}

Result<std::vector<Application>> ApplicationsFrom(const Json& json) {
  std::vector<Application> applications;
  for (const Json& entry : json) {
    DULY_ASSIGN_OR_RETURN(Application application, ApplicationFrom(entry));
    applications.push_back(std::move(application));
  }
  return applications;
}

Status Check(const EngineConfig& config) {
  const auto fault = [](auto format, const auto&... values) {
    return Status(StatusCode::kInvalidArgument, fmt::format(fmt::runtime(format), values...));
  };
  if (config.devices.empty()) return fault("there is no device");
  if (config.max_waiting == 0) return fault("max_waiting is 0");
  std::uint64_t slots = 0;
  for (const EngineDevice& device : config.devices) {
    slots += device.slots;
    if (device.slots == 0 || slots > kMaxSlots) {
      return fault("device '{}' has {} slots", device.name, device.slots);
    }
  }
  for (const Generation& generation : config.generations) {
    if (generation.max_rows * slots > kMaxBatchMembers) {
      return fault("model '{}' has max_rows {} on {} slots", generation.model, generation.max_rows,
                   slots);
    }
  }
  Status status;
  for (const Application& application : config.applications) {
    if (!status.ok()) break;
    status = CheckApplication(application);
  }
  for (const Generation& generation : config.generations) {
    if (!status.ok()) break;
    status = CheckGeneration(generation, config.devices.size(), config.applications.size());
  }
  return status;
}

Result<EventLogHeader> HeaderFrom(const Json& json) {
  EventLogHeader header;
  header.build = json.at("duly").get<std::string>();
  header.started = json.at("started").get<std::string>();
  header.start = FromNanos(Whole<std::int64_t>(json.at("start_ns")));
  header.host = json.at("host").get<std::string>();
  header.seed = Whole<std::uint64_t>(json.at("seed"));
  header.policy = json.at("policy").get<std::string>();
  for (const auto& [key, value] : json.at("policy_options").items()) {
    header.policy_options[key] = value.get<std::string>();
  }
  header.config.max_waiting = Whole<std::uint32_t>(json.at("max_waiting"));
  for (const Json& entry : json.at("devices")) {
    header.config.devices.push_back(
        {entry.at("name").get<std::string>(), Whole<std::uint32_t>(entry.at("slots"))});
  }
  for (const Json& entry : json.at("generations")) {
    DULY_ASSIGN_OR_RETURN(Generation generation, GenerationFrom(entry));
    header.config.generations.push_back(std::move(generation));
  }
  DULY_ASSIGN_OR_RETURN(header.config.applications, ApplicationsFrom(json.at("applications")));
  if (header.start < TimePoint())
    return Error(StatusCode::kInvalidArgument, "start_ns is negative");
  DULY_RETURN_IF_ERROR(Check(header.config));
  return header;
}

}  // namespace

std::string ToJson(const EventLogHeader& header) {
  Json devices = Json::array();
  for (const EngineDevice& device : header.config.devices) {
    devices.push_back({{"name", device.name}, {"slots", device.slots}});
  }
  const Json json = {{"duly", header.build},
                     {"started", header.started},
                     {"start_ns", ToNanos(header.start)},
                     {"host", header.host},
                     {"seed", header.seed},
                     {"policy", header.policy},
                     {"policy_options", Json(header.policy_options)},
                     {"max_waiting", header.config.max_waiting},
                     {"devices", std::move(devices)},
                     {"generations", ListOf(header.config.generations)},
                     {"applications", ListOf(header.config.applications)}};
  return Dump(json);
}

std::string ToJson(const GenerationLoad& load) {
  return Dump({{"index", load.index},
               {"generation", ToJson(load.generation)},
               {"applications", ListOf(load.applications)}});
}

Result<GenerationLoad> ParseGenerationLoad(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    GenerationLoad load;
    load.index = Whole<GenerationIndex>(json.at("index"));
    DULY_ASSIGN_OR_RETURN(load.generation, GenerationFrom(json.at("generation")));
    DULY_ASSIGN_OR_RETURN(load.applications, ApplicationsFrom(json.at("applications")));
    return load;
  } catch (const std::exception& error) {
    return Error(StatusCode::kInvalidArgument, "{}", error.what());
  }
}

Result<EventLogHeader> ParseEventLogHeader(std::string_view json) {
  try {
    return HeaderFrom(Json::parse(json));
  } catch (const std::exception& error) {
    return Error(StatusCode::kInvalidArgument, "{}", error.what());
  }
}

}  // namespace duly
