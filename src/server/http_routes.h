// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "runtime/node.h"
#include "server/http_head.h"
#include "server/http_message.h"
#include "server/infer_json.h"

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
    kIndex,
    kMetrics,
    kLater,    // in the protocol, not in this version
    kUnknown,  // no such route; the answer is 404
    kMethod,   // exists with other methods; the answer is 405
  };
  Kind kind = Kind::kUnknown;
  std::string model;
  std::int64_t version = -1;  // -1: the highest
  std::string_view allow;     // kMethod
};

// Finds the route of a target, its model name decoded.
HttpRoute FindRoute(HttpMethod method, std::string_view target, HttpPort port);

// What the routes answer. Knows neither sockets nor the framing of HTTP.
// Threading: all methods from any thread.
class HttpRoutes {
 public:
  // Borrows the node.
  explicit HttpRoutes(Node& node) : node_(node) {}

  void SetReady(bool ready) { ready_.store(ready, std::memory_order_relaxed); }
  Node& node() const { return node_; }

  // Everything but kInfer.
  HttpReply Answer(const HttpRoute& route) const;

  // kInfer: reads the request. json_size: where the binary tensors start; nothing: there are none.
  Result<InferCall> DecodeInfer(const HttpRoute& route, InferDecoder& decoder, const Buffer& body,
                                std::optional<std::uint64_t> json_size) const;
  HttpReply InferReply(const InferReplyFormat& format, InferResponse response) const;

  static HttpReply ErrorReply(const Status& status);

 private:
  // nullptr and `failure` when there is none.
  std::shared_ptr<const ServedModel> FindModel(const HttpRoute& route, Status& failure) const;
  HttpReply AnswerModel(const HttpRoute& route) const;

  Node& node_;
  std::atomic<bool> ready_{false};
};

}  // namespace duly
