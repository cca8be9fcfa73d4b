// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_server.h"

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "server/grpc_connection.h"
#include "server/grpc_health.h"
#include "server/grpc_infer.h"
#include "server/grpc_model_methods.h"
#include "server/grpc_reflection.h"
#include "server/socket_server.h"

namespace duly {
namespace {

// A quarter of the shortest limit, so that none is exceeded by much.
Duration GrpcTick(const GrpcOptions& options) {
  const Duration shortest = std::min({options.idle_timeout, options.message_timeout,
                                      options.write_timeout, options.keepalive, options.linger});
  return std::clamp<Duration>(shortest / 4, std::chrono::milliseconds(1), std::chrono::seconds(1));
}

}  // namespace

class GrpcServer::Impl {
 public:
  Impl(GrpcOptions options, ModelService& service)
      : shared_(std::move(options), service),
        sockets_("grpc", shared_.options.threads, GrpcTick(shared_.options),
                 [this](TcpSocket socket, IoThread& thread, std::size_t) {
                   return Adopt(std::move(socket), thread);
                 }) {
    AddInferMethods(shared_);
    AddModelMethods(shared_);
    AddHealthMethods(shared_);
    AddReflectionMethods(shared_);
  }

  Status Start() {
    const Result<std::uint16_t> port = sockets_.Listen(shared_.options.host, shared_.options.port);
    if (!port) return port.error();
    port_ = *port;
    sockets_.Serve();
    return Status();
  }

  std::uint16_t port() const { return port_; }
  void SetServing(bool serving) { shared_.health.SetServing(serving); }
  void Drain(std::function<void()> done) { sockets_.Drain(std::move(done)); }

 private:
  std::shared_ptr<IoConnection> Adopt(TcpSocket socket, IoThread& thread) {
    if (shared_.connections.load(std::memory_order_relaxed) >= shared_.options.max_connections) {
      return nullptr;
    }
    std::optional<ClientConnections::Lease> lease =
        ClientConnections::OpenFor(shared_.options.clients.get(), socket);
    if (!lease) return nullptr;
    return std::make_shared<GrpcConnection>(std::move(socket), thread, shared_, std::move(*lease));
  }

  GrpcShared shared_;
  std::uint16_t port_ = 0;
  SocketServer sockets_;  // ends first
};

Result<std::unique_ptr<GrpcServer>> GrpcServer::Start(GrpcOptions options, ModelService& service) {
  // protobuf writes a line for each text of a message that is not UTF-8, which the answer says.
  static std::once_flag silent;
  std::call_once(silent, [] { google::protobuf::SetLogHandler(nullptr); });
  auto impl = std::make_unique<Impl>(std::move(options), service);
  DULY_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcServer::~GrpcServer() = default;

std::uint16_t GrpcServer::port() const { return impl_->port(); }
void GrpcServer::SetServing(bool serving) { impl_->SetServing(serving); }
void GrpcServer::Drain(std::function<void()> done) { impl_->Drain(std::move(done)); }

}  // namespace duly
