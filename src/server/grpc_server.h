// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "server/access.h"
#include "server/client_connections.h"
#include "server/memory_budget.h"
#include "server/model_service.h"
#include "server/tls.h"

namespace duly {

struct GrpcOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8001;             // 0: any free one
  std::uint32_t threads = 0;             // 0: two, or one on a single core
  std::size_t message_bytes = 1 << 26;   // largest request
  std::uint32_t max_connections = 4096;  // further ones are closed
  // Of each client; null: no limit. With other servers, as the memory of their requests.
  std::shared_ptr<ClientConnections> clients;
  std::shared_ptr<MemoryBudget> memory = std::make_shared<MemoryBudget>(std::size_t{1} << 30);
  Access access;                                        // to all but health
  std::shared_ptr<const TlsContext> tls;                // null: not encrypted
  Duration idle_timeout = std::chrono::seconds(300);    // of a connection without a call
  Duration message_timeout = std::chrono::seconds(30);  // between two arrivals of its bytes
  Duration write_timeout = std::chrono::seconds(30);    // the same, of what the client takes
  // A client with a call that is silent for so long is asked whether it is there; as long again,
  // and the connection is closed.
  Duration keepalive = std::chrono::seconds(60);
  Duration linger = std::chrono::seconds(2);  // for a client to read the end of a connection
};

// The Open Inference Protocol over gRPC, with grpc.health.v1 and reflection (docs/adr/0010 says why
// it is not gRPC's own server).
//
// A call's deadline ends its wait: the work of calls past it is not done. A stream has many
// requests in flight and answers them as they end; reading pauses while too many wait for the
// client to read.
//
// Life: Start -> SetServing -> Drain -> destruction. The service says whether it is ready. The
// service and its node must outlive the server, and the node be able to answer until the server is
// gone. Threading: the methods below from any one thread; requests run on the server's own threads,
// and answers may come to it from any thread.
class GrpcServer {
 public:
  // kUnavailable when the address cannot be had.
  static Result<std::unique_ptr<GrpcServer>> Start(GrpcOptions options, ModelService& service);
  // Cancels all calls; their requests in the node are cancelled, and their ends awaited.
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  std::uint16_t port() const;

  // What grpc.health.v1 says, of the server and of its service by name; NOT_SERVING at first.
  void SetServing(bool serving);
  // Takes no new calls, tells clients to go elsewhere, answers what has been received and ends the
  // streams; then calls `done` once, on one of the server's threads.
  void Drain(std::function<void()> done);

 private:
  class Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace duly
