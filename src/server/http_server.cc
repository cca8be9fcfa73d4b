// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <chrono>
#include <string_view>
#include <utility>

#include "server/http_connection.h"
#include "server/socket_server.h"

namespace duly {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kTooManyConnections =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 47\r\n"
    "Retry-After: 1\r\nConnection: close\r\n\r\n"
    R"({"error":"the server has too many connections"})";

constexpr std::string_view kTooManyOfClient =
    "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 48\r\n"
    "Retry-After: 1\r\nConnection: close\r\n\r\n"
    R"({"error":"this client has too many connections"})";

// A quarter of the shortest limit, so that none is exceeded by much.
Duration TickOf(const HttpOptions& options) {
  const Duration shortest = std::min({options.head_timeout, options.body_timeout,
                                      options.write_timeout, options.idle_timeout, options.linger});
  return std::clamp<Duration>(shortest / 4, std::chrono::milliseconds(1), std::chrono::seconds(1));
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpOptions options, ModelService& service)
      : shared_(std::move(options), service),
        sockets_("http", shared_.options.threads, TickOf(shared_.options),
                 [this](TcpSocket socket, IoThread& thread, std::size_t listener) {
                   return Adopt(std::move(socket), thread,
                                listener == 0 ? HttpPort::kMain : HttpPort::kMetrics);
                 }) {}

  Status Start() {
    const HttpOptions& options = shared_.options;
    Result<std::uint16_t> port = sockets_.Listen(options.host, options.port);
    if (!port) return port.error();
    port_ = *port;
    if (options.metrics_port) {
      port = sockets_.Listen(options.host, *options.metrics_port);
      if (!port) return port.error();
      metrics_port_ = *port;
    }
    sockets_.Serve();
    return Status();
  }

  HttpShared& shared() { return shared_; }
  std::uint16_t port() const { return port_; }
  std::optional<std::uint16_t> metrics_port() const { return metrics_port_; }
  void Drain(std::function<void()> done) { sockets_.Drain(std::move(done)); }

 private:
  void TurnAway(TcpSocket& socket, std::string_view answer) const {
    boost::system::error_code ignored;
    if (!shared_.options.tls) socket.write_some(asio::buffer(answer), ignored);
    socket.shutdown(TcpSocket::shutdown_send, ignored);
  }

  std::shared_ptr<IoConnection> Adopt(TcpSocket socket, IoThread& thread, HttpPort kind) {
    if (shared_.connections.load(std::memory_order_relaxed) >= shared_.options.max_connections) {
      TurnAway(socket, kTooManyConnections);
      return nullptr;
    }
    std::optional<ClientConnections::Lease> lease =
        ClientConnections::OpenFor(shared_.options.clients.get(), socket);
    if (!lease) {
      TurnAway(socket, kTooManyOfClient);
      return nullptr;
    }
    return std::make_shared<HttpConnection>(std::move(socket), thread, shared_, kind,
                                            std::move(*lease));
  }

  HttpShared shared_;
  std::uint16_t port_ = 0;
  std::optional<std::uint16_t> metrics_port_;
  SocketServer sockets_;  // ends first
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(HttpOptions options, ModelService& service) {
  auto impl = std::make_unique<Impl>(std::move(options), service);
  DULY_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

std::uint16_t HttpServer::port() const { return impl_->port(); }
std::optional<std::uint16_t> HttpServer::metrics_port() const { return impl_->metrics_port(); }

void HttpServer::Leave() { impl_->shared().leaving.store(true, std::memory_order_relaxed); }

void HttpServer::Drain(std::function<void()> done) { impl_->Drain(std::move(done)); }

}  // namespace duly
