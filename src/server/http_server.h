// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "server/access.h"
#include "server/client_connections.h"
#include "server/http_head.h"
#include "server/memory_budget.h"
#include "server/model_service.h"
#include "server/tls.h"

namespace duly {

struct HttpOptions {
  std::string host = "127.0.0.1";  // name or address; what it resolves to first is bound
  std::uint16_t port = 8000;       // 0: any free one
  std::optional<std::uint16_t> metrics_port = 8002;  // nothing: /metrics on the main port only
  std::uint32_t threads = 0;                         // for I/O; 0: two, or one on a single core
  std::uint32_t max_connections = 4096;              // further ones are told 503
  // Those of one client are told 429; null: no limit. With other servers, both.
  std::shared_ptr<ClientConnections> clients;
  std::shared_ptr<MemoryBudget> memory = std::make_shared<MemoryBudget>(std::size_t{1} << 30);
  Access access;                          // on both ports
  std::shared_ptr<const TlsContext> tls;  // likewise; null: not encrypted
  HttpLimits limits;
  Duration head_timeout = std::chrono::seconds(10);   // from its first byte to its last
  Duration body_timeout = std::chrono::seconds(30);   // between two arrivals of bytes
  Duration write_timeout = std::chrono::seconds(30);  // the same, of what the client takes
  Duration idle_timeout = std::chrono::seconds(300);  // between two requests
  Duration linger =
      std::chrono::seconds(2);  // for a client to read an answer that ends a connection
};

// The Open Inference Protocol over HTTP/1.1.
//
// Life: Start -> Leave -> Drain -> destruction. The service says whether it is ready. The service
// and its node must outlive the server, and the node be able to answer until the server is gone.
// Threading: the methods below from any one thread; requests run on the server's own I/O threads,
// and answers may come to it from any thread.
class HttpServer {
 public:
  // Binds and starts to serve. kInvalidArgument or kUnavailable when an address cannot be had.
  static Result<std::unique_ptr<HttpServer>> Start(HttpOptions options, ModelService& service);
  // Closes everything at once; requests in the node are cancelled, and their ends awaited.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;
  std::optional<std::uint16_t> metrics_port() const;

  // Every answer from now on asks the client to close its connection, so that it can move to
  // another server while this one still serves.
  void Leave();
  // Takes no new connections and answers what has been received; then calls `done` once, on one of
  // the server's threads.
  void Drain(std::function<void()> done);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace duly
