// SPDX-License-Identifier: Apache-2.0
#include "server/http_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "server/application_service.h"
#include "server/generate_json.h"
#include "server/json_text.h"
#include "server/log_service.h"
#include "server/metrics.h"
#include "server/outcome_codes.h"
#include "server/proto_json.h"
#include "server/repository_json.h"
#include "server/trace_service.h"

namespace duly {
namespace {

using Kind = HttpRoute::Kind;

enum class Methods : std::uint8_t { kGet, kPost, kBoth, kDelete };

struct Pattern {
  std::string_view path;  // {} stands for one segment
  Kind kind;
  Methods methods;
};
constexpr std::array<Pattern, 24> kServerRoutes{
    {{"/v2/health/live", Kind::kLive, Methods::kGet},
     {"/v2/health/ready", Kind::kReady, Methods::kGet},
     {"/v2", Kind::kServer, Methods::kGet},
     {"/v2/models", Kind::kModels, Methods::kGet},
     {"/v2/models/stats", Kind::kAllStats, Methods::kGet},
     {"/v2/repository/index", Kind::kIndex, Methods::kPost},
     {"/v2/duly/applications", Kind::kApplications, Methods::kBoth},
     {"/v2/duly/applications/{}", Kind::kApplication, Methods::kDelete},
     {"/metrics", Kind::kMetrics, Methods::kGet},
     {"/v2/logging", Kind::kLogging, Methods::kBoth},
     {"/v2/trace/setting", Kind::kTracing, Methods::kBoth},
     {"/v2/systemsharedmemory/status", Kind::kSystemMemoryStatus, Methods::kGet},
     {"/v2/systemsharedmemory/unregister", Kind::kSystemMemoryUnregister, Methods::kPost},
     {"/v2/systemsharedmemory/region/{}/status", Kind::kSystemMemoryStatus, Methods::kGet},
     {"/v2/systemsharedmemory/region/{}/register", Kind::kSystemMemoryRegister, Methods::kPost},
     {"/v2/systemsharedmemory/region/{}/unregister", Kind::kSystemMemoryUnregister, Methods::kPost},
     {"/v2/cudasharedmemory/status", Kind::kCudaMemoryStatus, Methods::kGet},
     {"/v2/cudasharedmemory/unregister", Kind::kCudaMemoryUnregister, Methods::kPost},
     {"/v2/cudasharedmemory/region/{}/status", Kind::kCudaMemoryStatus, Methods::kGet},
     {"/v2/cudasharedmemory/region/{}/register", Kind::kCudaMemoryRegister, Methods::kPost},
     {"/v2/cudasharedmemory/region/{}/unregister", Kind::kCudaMemoryUnregister, Methods::kPost},
     {"/v2/repository/{}/index", Kind::kIndex, Methods::kPost},
     {"/v2/repository/models/{}/load", Kind::kLoad, Methods::kPost},
     {"/v2/repository/models/{}/unload", Kind::kUnload, Methods::kPost}}};
// Behind /v2/models/M and /v2/models/M/versions/V.
constexpr std::array<Pattern, 8> kModelRoutes{
    {{"/infer", Kind::kInfer, Methods::kPost},
     {"", Kind::kModel, Methods::kGet},
     {"/ready", Kind::kModelReady, Methods::kGet},
     {"/config", Kind::kModelConfig, Methods::kGet},
     {"/stats", Kind::kModelStats, Methods::kGet},
     {"/generate", Kind::kGenerate, Methods::kPost},
     {"/generate_stream", Kind::kGenerateStream, Methods::kPost},
     {"/trace/setting", Kind::kTracing, Methods::kBoth}}};

// Sets `segment` to what {} stands for.
bool Matches(std::string_view pattern, std::string_view path, std::string_view& segment) {
  const std::size_t hole = pattern.find("{}");
  if (hole == std::string_view::npos) return pattern == path;
  const std::string_view tail = pattern.substr(hole + 2);
  if (!path.starts_with(pattern.substr(0, hole)) || !path.ends_with(tail) ||
      path.size() <= hole + tail.size()) {
    return false;
  }
  segment = path.substr(hole, path.size() - hole - tail.size());
  return segment.find('/') == std::string_view::npos;
}

void Choose(const Pattern& pattern, HttpMethod method, HttpRoute& route) {
  const bool get = method == HttpMethod::kGet || method == HttpMethod::kHead;
  const bool post = method == HttpMethod::kPost;
  const bool fits = pattern.methods == Methods::kGet    ? get
                    : pattern.methods == Methods::kPost ? post
                    : pattern.methods == Methods::kBoth ? get || post
                                                        : method == HttpMethod::kDelete;
  if (fits) {
    route.kind = pattern.kind;
    route.method = method;
    return;
  }
  route.kind = Kind::kMethod;
  route.allow = pattern.methods == Methods::kGet    ? "GET, HEAD"
                : pattern.methods == Methods::kPost ? "POST"
                : pattern.methods == Methods::kBoth ? "GET, HEAD, POST"
                                                    : "DELETE";
}

// The path of a target in origin or absolute form.
std::string_view PathOf(std::string_view target) {
  if (const std::size_t scheme = target.find("://");
      scheme != std::string_view::npos && !target.starts_with('/')) {
    const std::size_t slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  return target.substr(0, target.find_first_of("?#"));
}

HttpReply JsonReply(std::string body) {
  HttpReply reply;
  reply.body = std::move(body);
  return reply;
}

// Names come from files; bytes that are not UTF-8 must not throw.
HttpReply JsonReply(const nlohmann::ordered_json& json) {
  return JsonReply(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

HttpReply ErrorReplyOf(std::uint16_t code, std::string_view message) {
  HttpReply reply = JsonReply(ErrorJson(message));
  reply.code = code;
  return reply;
}

// The values of an object as an array.
nlohmann::ordered_json ValuesOf(const nlohmann::ordered_json& object) {
  nlohmann::ordered_json values = nlohmann::ordered_json::array();
  for (const auto& value : object) values.push_back(value);
  return values;
}

// {"key": string, "offset": number, "byte_size": number}; without an offset it is 0.
Result<inference::SystemSharedMemoryRegisterRequest> ReadRegistration(const Buffer& body) {
  constexpr std::size_t kMaxBytes = std::size_t{64} << 10;
  const auto invalid = [](std::string_view what) {
    return Error(StatusCode::kInvalidArgument, "shared memory registration: {}", what);
  };
  if (body.size() > kMaxBytes) return invalid("the body is larger than 64 KiB");
  const auto* const text = reinterpret_cast<const char*>(body.data().data());
  const nlohmann::json json = nlohmann::json::parse(text, text + body.size(), nullptr, false);
  if (!json.is_object()) return invalid("the body is not a JSON object");
  inference::SystemSharedMemoryRegisterRequest request;
  const auto key = json.find("key");
  if (key == json.end() || !key->is_string()) return invalid("'key': expected a string");
  request.set_key(key->get<std::string>());
  const auto offset = json.find("offset");
  if (offset != json.end()) {
    if (!offset->is_number_unsigned()) return invalid("'offset': expected a whole number of bytes");
    request.set_offset(offset->get<std::uint64_t>());
  }
  const auto bytes = json.find("byte_size");
  if (bytes == json.end() || !bytes->is_number_unsigned()) {
    return invalid("'byte_size': expected a whole number of bytes");
  }
  request.set_byte_size(bytes->get<std::uint64_t>());
  return request;
}

}  // namespace

HttpRoute FindRoute(HttpMethod method, std::string_view target, HttpPort port) {
  constexpr std::string_view kModels = "/v2/models/";
  const std::string_view path = PathOf(target);
  HttpRoute route;
  if (port == HttpPort::kMetrics || !path.starts_with(kModels) || path == "/v2/models/stats") {
    for (const Pattern& pattern : kServerRoutes) {
      if (port == HttpPort::kMetrics && pattern.kind != Kind::kMetrics) continue;
      std::string_view segment;
      if (!Matches(pattern.path, path, segment)) continue;
      std::optional<std::string> decoded = DecodePercent(segment);
      if (!decoded) return route;
      route.segment = std::move(*decoded);
      Choose(pattern, method, route);
      break;
    }
    return route;
  }

  std::string_view rest = path.substr(kModels.size());
  const std::string_view name = rest.substr(0, rest.find('/'));
  rest.remove_prefix(name.size());
  std::optional<std::string> decoded = DecodePercent(name);
  if (!decoded || decoded->empty()) return route;
  constexpr std::string_view kVersions = "/versions/";
  if (rest.starts_with(kVersions)) {
    rest.remove_prefix(kVersions.size());
    const std::string_view version = rest.substr(0, rest.find('/'));
    if (version.empty() || version.find_first_not_of("0123456789") != std::string_view::npos) {
      return route;
    }
    route.version = version;
    rest.remove_prefix(version.size());
  }
  for (const Pattern& pattern : kModelRoutes) {
    if (pattern.path != rest) continue;
    route.model = std::move(*decoded);
    Choose(pattern, method, route);
    return route;
  }
  return route;
}

Scope ScopeOf(const HttpRoute& route) {
  switch (route.kind) {
    case Kind::kLive:
    case Kind::kReady:
      return Scope::kNone;
    case Kind::kServer:
    case Kind::kModels:
    case Kind::kModel:
    case Kind::kModelReady:
    case Kind::kModelConfig:
    case Kind::kModelStats:
    case Kind::kAllStats:
    case Kind::kIndex:
    case Kind::kMetrics:
      return Scope::kRead;
    case Kind::kApplications:
      return route.method == HttpMethod::kPost ? Scope::kControl : Scope::kRead;
    case Kind::kInfer:
    case Kind::kGenerate:
    case Kind::kGenerateStream:
    case Kind::kSystemMemoryStatus:
    case Kind::kSystemMemoryRegister:
    case Kind::kSystemMemoryUnregister:
    case Kind::kCudaMemoryStatus:
    case Kind::kCudaMemoryRegister:
    case Kind::kCudaMemoryUnregister:
      return Scope::kInfer;
    case Kind::kLoad:
    case Kind::kUnload:
    case Kind::kLogging:
    case Kind::kTracing:
    case Kind::kApplication:
      return Scope::kControl;
    case Kind::kUnknown:
    case Kind::kMethod:
      break;
  }
  return Scope::kToken;
}

HttpReply HttpRoutes::ErrorReply(const Status& status) {
  HttpReply reply = ErrorReplyOf(HttpCode(status.code()), status.message());
  if (IsRetryable(status.code())) reply.retry_after_s = RetryAfterSeconds(Duration(0));
  return reply;
}

HttpReply HttpRoutes::Answer(const HttpRoute& route, const Buffer& body) const {
  switch (route.kind) {
    case Kind::kLive:
      return JsonReply(std::string(R"({"live":true})"));
    case Kind::kReady: {
      const bool ready = service_.ready();
      HttpReply reply = JsonReply({{"ready", ready}});
      if (!ready) reply.code = 400;
      return reply;
    }
    case Kind::kServer:
      return JsonReply(ToJson(service_.ServerMetadata()));
    case Kind::kModels:
      return JsonReply({{"models", service_.ModelNames()}});
    case Kind::kAllStats:
      return JsonReply(ToJson(service_.AllStatistics()));
    case Kind::kIndex:
    case Kind::kLoad:
    case Kind::kUnload: {
      Result<HttpReply> reply = AnswerRepository(route, body);
      return reply ? std::move(*reply) : ErrorReply(reply.error());
    }
    case Kind::kLogging: {
      Result<HttpReply> reply = AnswerLogging(route, body);
      return reply ? std::move(*reply) : ErrorReply(reply.error());
    }
    case Kind::kTracing: {
      Result<HttpReply> reply = AnswerTracing(route, body);
      return reply ? std::move(*reply) : ErrorReply(reply.error());
    }
    case Kind::kApplications:
    case Kind::kApplication: {
      Result<HttpReply> reply = AnswerApplications(route, body);
      return reply ? std::move(*reply) : ErrorReply(reply.error());
    }
    case Kind::kMetrics: {
      const ApplicationService* const applications = service_.applications();
      ServerCounts counts;
      if (limits_) counts.limits = limits_();
      if (applications != nullptr) counts.heats = applications->Heats();
      counts.dropped_traces = service_.dropped_traces();
      HttpReply reply = JsonReply(MetricsText(node().Models(), node().Stats(), counts));
      reply.content_type = kMetricsContentType;
      return reply;
    }
    case Kind::kModel:
    case Kind::kModelReady:
    case Kind::kModelConfig:
    case Kind::kModelStats: {
      Result<HttpReply> reply = AnswerModel(route);
      return reply ? std::move(*reply) : ErrorReply(reply.error());
    }
    case Kind::kSystemMemoryStatus:
    case Kind::kSystemMemoryRegister:
    case Kind::kSystemMemoryUnregister:
    case Kind::kCudaMemoryStatus:
    case Kind::kCudaMemoryRegister:
    case Kind::kCudaMemoryUnregister: {
      Result<HttpReply> reply = AnswerMemory(route, body);
      return reply ? std::move(*reply) : ErrorReply(reply.error());
    }
    case Kind::kMethod: {
      HttpReply reply = ErrorReplyOf(
          405, fmt::format("this route does not know the method: expected {}", route.allow));
      reply.allow = route.allow;
      return reply;
    }
    case Kind::kInfer:
    case Kind::kGenerate:
    case Kind::kGenerateStream:
    case Kind::kUnknown:
      break;
  }
  return ErrorReplyOf(404,
                      "no such route: expected /v2, /v2/health/ready, /v2/models/NAME/infer, ...");
}

WorkThread* HttpRoutes::ThreadOf(const HttpRoute& route) const {
  const bool slow = route.kind == Kind::kLoad || route.kind == Kind::kUnload ||
                    route.kind == Kind::kApplications || route.kind == Kind::kApplication;
  return slow ? service_.control_thread() : nullptr;
}

Result<HttpReply> HttpRoutes::AnswerRepository(const HttpRoute& route, const Buffer& body) const {
  const std::string_view text(reinterpret_cast<const char*>(body.data().data()), body.size());
  if (route.kind == Kind::kLoad) {
    DULY_ASSIGN_OR_RETURN(inference::RepositoryModelLoadRequest request, ReadLoadRequest(text));
    request.set_model_name(route.segment);
    DULY_RETURN_IF_ERROR(service_.LoadModel(request));
    return HttpReply();
  }
  if (route.kind == Kind::kUnload) {
    DULY_ASSIGN_OR_RETURN(inference::RepositoryModelUnloadRequest request, ReadUnloadRequest(text));
    request.set_model_name(route.segment);
    DULY_RETURN_IF_ERROR(service_.UnloadModel(request));
    return HttpReply();
  }
  DULY_ASSIGN_OR_RETURN(inference::RepositoryIndexRequest request, ReadIndexRequest(text));
  request.set_repository_name(route.segment);
  DULY_ASSIGN_OR_RETURN(const inference::RepositoryIndexResponse index,
                        service_.RepositoryIndex(request));
  nlohmann::ordered_json models = ToJson(index)["models"];
  // What is empty is not known.
  for (auto& model : models) {
    for (const char* key : {"version", "state", "reason"}) {
      if (model.value(key, "").empty()) model.erase(key);
    }
  }
  return JsonReply(models);
}

Result<HttpReply> HttpRoutes::AnswerApplications(const HttpRoute& route, const Buffer& body) const {
  constexpr std::uint16_t kConflict = 409;
  ApplicationService* const applications = service_.applications();
  if (applications == nullptr) {
    return Error(StatusCode::kUnimplemented, "this server accepts no applications");
  }
  if (route.kind == Kind::kApplication) {
    DULY_RETURN_IF_ERROR(applications->Remove(route.segment));
    return HttpReply();
  }
  if (route.method != HttpMethod::kPost) return JsonReply(applications->List());
  const std::string_view text(reinterpret_cast<const char*>(body.data().data()), body.size());
  DULY_ASSIGN_OR_RETURN(const ApplicationService::Answer answer, applications->Admit(text));
  HttpReply reply = JsonReply(answer.json);
  if (!answer.accepted) reply.code = kConflict;
  return reply;
}

Result<HttpReply> HttpRoutes::AnswerLogging(const HttpRoute& route, const Buffer& body) {
  inference::LogSettingsRequest request;
  if (route.method == HttpMethod::kPost) {
    const std::string_view text(reinterpret_cast<const char*>(body.data().data()), body.size());
    DULY_ASSIGN_OR_RETURN(request, ReadLogSettingsRequest(text));
  }
  DULY_ASSIGN_OR_RETURN(const inference::LogSettingsResponse response, UpdateLogSettings(request));
  nlohmann::ordered_json settings = ToJson(response)["settings"];
  // Each stands for the only member that it has.
  for (auto& value : settings) value = nlohmann::ordered_json(value.front());
  return JsonReply(settings);
}

Result<HttpReply> HttpRoutes::AnswerTracing(const HttpRoute& route, const Buffer& body) const {
  inference::TraceSettingRequest request;
  if (route.method == HttpMethod::kPost) {
    const std::string_view text(reinterpret_cast<const char*>(body.data().data()), body.size());
    DULY_ASSIGN_OR_RETURN(request, ReadTraceSettingRequest(text));
  }
  request.set_model_name(route.model);
  DULY_ASSIGN_OR_RETURN(const inference::TraceSettingResponse response,
                        service_.TraceSetting(request));
  return JsonReply(ToTraceJson(response));
}

Result<HttpReply> HttpRoutes::AnswerModel(const HttpRoute& route) const {
  switch (route.kind) {
    case Kind::kModelReady: {
      DULY_ASSIGN_OR_RETURN(const std::shared_ptr<const ServedModel> model,
                            service_.FindModel(route.model, route.version));
      return JsonReply({{"name", model->spec.name}, {"ready", true}});
    }
    case Kind::kModelConfig: {
      DULY_ASSIGN_OR_RETURN(const inference::ModelConfig config,
                            service_.ModelConfig(route.model, route.version));
      return JsonReply(ToJson(config));
    }
    case Kind::kModelStats: {
      DULY_ASSIGN_OR_RETURN(const inference::ModelStatisticsResponse statistics,
                            service_.ModelStatistics(route.model, route.version));
      return JsonReply(ToJson(statistics));
    }
    default: {
      DULY_ASSIGN_OR_RETURN(const inference::ModelMetadataResponse metadata,
                            service_.ModelMetadata(route.model, route.version));
      return JsonReply(ToJson(metadata));
    }
  }
}

Result<HttpReply> HttpRoutes::AnswerMemory(const HttpRoute& route, const Buffer& body) const {
  const SharedMemoryService& service = service_.shared_memory();
  switch (route.kind) {
    case Kind::kSystemMemoryStatus: {
      DULY_ASSIGN_OR_RETURN(const inference::SystemSharedMemoryStatusResponse status,
                            service.SystemStatus(route.segment));
      return JsonReply(ValuesOf(ToJson(status)["regions"]));
    }
    case Kind::kSystemMemoryRegister: {
      inference::SystemSharedMemoryRegisterRequest request;
      // Where it is not allowed that is what matters, whatever the body is.
      if (service.registry() != nullptr) {
        DULY_ASSIGN_OR_RETURN(request, ReadRegistration(body));
      }
      request.set_name(route.segment);
      DULY_RETURN_IF_ERROR(service.SystemRegister(request));
      return HttpReply();
    }
    case Kind::kSystemMemoryUnregister:
      DULY_RETURN_IF_ERROR(service.SystemUnregister(route.segment));
      return HttpReply();
    case Kind::kCudaMemoryStatus: {
      DULY_ASSIGN_OR_RETURN(const inference::CudaSharedMemoryStatusResponse status,
                            service.CudaStatus(route.segment));
      return JsonReply(ValuesOf(ToJson(status)["regions"]));
    }
    case Kind::kCudaMemoryRegister:
      DULY_RETURN_IF_ERROR(service.CudaRegister(route.segment));
      return HttpReply();
    default:
      DULY_RETURN_IF_ERROR(service.CudaUnregister());
      return HttpReply();
  }
}

Result<InferCall> HttpRoutes::DecodeInfer(const HttpRoute& route, InferDecoder& decoder,
                                          const Buffer& body,
                                          std::optional<std::uint64_t> json_size) const {
  DULY_ASSIGN_OR_RETURN(std::shared_ptr<const ServedModel> model,
                        service_.FindModel(route.model, route.version));
  if (!json_size && body.size() == 0) {
    return Error(StatusCode::kInvalidArgument, "the request has no body");
  }
  if (route.kind != Kind::kInfer) {
    if (json_size) {
      return Error(StatusCode::kInvalidArgument, "generate takes JSON: expected no binary data");
    }
    const std::string_view text(reinterpret_cast<const char*>(body.data().data()), body.size());
    DULY_ASSIGN_OR_RETURN(const std::string infer, InferJsonOf(model->spec, text));
    auto [buffer, bytes] = Buffer::Allocate(infer.size() + InferDecoder::kPadding);
    std::memcpy(bytes.data(), infer.data(), infer.size());
    Result<InferCall> call =
        decoder.Decode(std::move(model), buffer.Slice(0, infer.size()), infer.size(), nullptr);
    if (call) {
      std::fill(call->format.binary.begin(), call->format.binary.end(), false);
      call->format.form = route.kind == Kind::kGenerate ? InferReplyFormat::Form::kGenerate
                                                        : InferReplyFormat::Form::kEvent;
    }
    return call;
  }
  return decoder.Decode(std::move(model), body, json_size.value_or(body.size()),
                        service_.shared_memory().registry());
}

HttpReply HttpRoutes::InferReply(const InferReplyFormat& format, InferResponse response) const {
  HttpReply reply;
  Status status = Conclude(format, response);
  if (status.ok()) {
    status = EncodeInferReply(format, response, reply.body, reply.binary);
    if (!status.ok()) return ErrorReply(status);
    if (format.form != InferReplyFormat::Form::kInfer) reply.body = GenerateJsonOf(reply.body);
    if (format.form == InferReplyFormat::Form::kEvent) {
      // A model answers once: the stream has one event.
      reply.body = "data: " + reply.body + "\n\n";
      reply.content_type = "text/event-stream; charset=utf-8";
    }
    reply.tensors = std::move(response.outputs);
    return reply;
  }
  reply.code = HttpCode(status.code());
  reply.body = EncodeInferError(format, response, status);
  if (IsRetryable(status.code())) reply.retry_after_s = RetryAfterSeconds(response.retry_after);
  return reply;
}

}  // namespace duly
