// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "server/access.h"
#include "server/http_head.h"
#include "server/http_message.h"
#include "server/infer_json.h"
#include "server/metrics.h"
#include "server/model_service.h"

namespace duly {

// Which of a server's ports a request came in by.
enum class HttpPort : std::uint8_t { kMain, kMetrics };

struct HttpRoute {
  enum class Kind : std::uint8_t {
    kLive,
    kReady,
    kServer,
    kModels,
    kModel,
    kModelReady,
    kModelConfig,
    kModelStats,
    kAllStats,
    kInfer,
    kGenerate,
    kGenerateStream,
    kIndex,
    kLoad,
    kUnload,
    kSystemMemoryStatus,
    kSystemMemoryRegister,
    kSystemMemoryUnregister,
    kCudaMemoryStatus,
    kCudaMemoryRegister,
    kCudaMemoryUnregister,
    kLogging,
    kTracing,
    kMetrics,
    kApplications,
    kApplication,
    kUnknown,  // no such route; the answer is 404
    kMethod,   // exists with other methods; the answer is 405
  };
  Kind kind = Kind::kUnknown;
  HttpMethod method = HttpMethod::kGet;
  std::string model;
  std::string version;     // digits; empty: the highest
  std::string segment;     // what stands in the route's {}: a region, a model, a repository
  std::string_view allow;  // kMethod
};

// Finds the route of a target, the names in it decoded.
HttpRoute FindRoute(HttpMethod method, std::string_view target, HttpPort port);

// What a client needs for it.
Scope ScopeOf(const HttpRoute& route);

// What the routes answer. Knows neither sockets nor the framing of HTTP.
// Threading: all methods from any thread.
class HttpRoutes {
 public:
  // Borrows the service.
  // limits: what the metrics say of them.
  explicit HttpRoutes(ModelService& service, std::function<LimitCounts()> limits = {})
      : service_(service), limits_(std::move(limits)) {}

  const ModelService& service() const { return service_; }
  Node& node() const { return service_.node(); }

  // Where to call Answer() for this route; null: anywhere.
  WorkThread* ThreadOf(const HttpRoute& route) const;
  // Whether the route is answered by the node: DecodeInfer, and InferReply later.
  static bool IsInference(const HttpRoute& route) {
    using Kind = HttpRoute::Kind;
    return route.kind == Kind::kInfer || route.kind == Kind::kGenerate ||
           route.kind == Kind::kGenerateStream;
  }
  // Everything but inference.
  HttpReply Answer(const HttpRoute& route, const Buffer& body) const;

  // Inference: reads the request. json_size: where the binary tensors start; nothing: there are
  // none.
  Result<InferCall> DecodeInfer(const HttpRoute& route, InferDecoder& decoder, const Buffer& body,
                                std::optional<std::uint64_t> json_size) const;
  HttpReply InferReply(const InferReplyFormat& format, InferResponse response) const;

  static HttpReply ErrorReply(const Status& status);

 private:
  Result<HttpReply> AnswerRepository(const HttpRoute& route, const Buffer& body) const;
  static Result<HttpReply> AnswerLogging(const HttpRoute& route, const Buffer& body);
  Result<HttpReply> AnswerTracing(const HttpRoute& route, const Buffer& body) const;
  Result<HttpReply> AnswerApplications(const HttpRoute& route, const Buffer& body) const;
  Result<HttpReply> AnswerModel(const HttpRoute& route) const;
  Result<HttpReply> AnswerMemory(const HttpRoute& route, const Buffer& body) const;

  ModelService& service_;
  const std::function<LimitCounts()> limits_;
};

}  // namespace duly
