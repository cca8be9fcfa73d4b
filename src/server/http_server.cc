// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "server/http_connection.h"
#include "server/io_thread.h"
#include "server/thread_count.h"

namespace duly {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr int kBacklog = 1024;
// How long accepting pauses when the process has no file descriptor left.
constexpr std::chrono::milliseconds kAcceptPause{100};
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

Result<tcp::endpoint> Resolve(const std::string& host, std::uint16_t port) {
  asio::io_context context;
  boost::system::error_code error;
  const auto found = tcp::resolver(context).resolve(
      host, std::to_string(port), tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return Error(StatusCode::kInvalidArgument, "host '{}': {}", host, error.message());
  }
  return found.begin()->endpoint();
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpOptions options, ModelService& service) : shared_(std::move(options), service) {}

  Status Start() {
    const HttpOptions& options = shared_.options;
    const std::uint32_t count = ThreadCount(options.threads);
    for (std::uint32_t i = 0; i < count; ++i) {
      threads_.push_back(
          std::make_unique<IoThread>(fmt::format("duly-http-{}", i), TickOf(options), turns_));
    }
    Status status = Listen(options.port, HttpPort::kMain);
    if (status.ok() && options.metrics_port) {
      status = Listen(*options.metrics_port, HttpPort::kMetrics);
    }
    if (!status.ok()) return status;
    for (Listener& listener : listeners_) OnAcceptThread([&] { Accept(listener); });
    return Status();
  }

  ~Impl() {
    OnAcceptThread([this] { CloseListeners(); });
    // Behind the last handlers that know them, and before the context that they belong to.
    OnAcceptThread([this] { listeners_.clear(); });
    for (const auto& thread : threads_) {
      asio::post(thread->context(), [&io = *thread] { io.Finish(); });
    }
    threads_.clear();
  }

  HttpShared& shared() { return shared_; }

  std::optional<std::uint16_t> PortOf(HttpPort kind) const {
    for (const Listener& listener : listeners_) {
      if (listener.kind == kind) return listener.port;
    }
    return std::nullopt;
  }

  void Drain(std::function<void()> done) {
    // What was posted to a thread before stays before: connections that were just accepted are
    // there when their thread drains.
    OnAcceptThread([this] {
      AcceptPending();
      CloseListeners();
    });
    auto left = std::make_shared<std::atomic<std::size_t>>(threads_.size());
    auto shared_done = std::make_shared<std::function<void()>>(std::move(done));
    for (const auto& thread : threads_) {
      asio::post(thread->context(), [&io = *thread, left, shared_done] {
        io.Drain([left, shared_done] {
          if (left->fetch_sub(1) == 1) (*shared_done)();
        });
      });
    }
  }

 private:
  struct Listener {
    HttpPort kind;
    std::uint16_t port;
    tcp::acceptor acceptor;
    asio::steady_timer pause;
  };

  asio::io_context& accept_context() { return threads_.front()->context(); }

  // Runs `work` on the thread that accepts, and waits for it.
  template <typename Work>
  void OnAcceptThread(Work work) {
    std::promise<void> finished;
    asio::post(accept_context(), [&] {
      work();
      finished.set_value();
    });
    finished.get_future().wait();
  }

  Status Listen(std::uint16_t port, HttpPort kind) {
    const std::string& host = shared_.options.host;
    Result<tcp::endpoint> endpoint = Resolve(host, port);
    if (!endpoint) return endpoint.error();
    tcp::acceptor acceptor(accept_context());
    boost::system::error_code error;
    acceptor.open(endpoint->protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(*endpoint, error);
    if (!error) acceptor.listen(kBacklog, error);
    if (!error) acceptor.non_blocking(true, error);
    if (error) {
      return Status(StatusCode::kUnavailable,
                    fmt::format("cannot listen on {}:{}: {}", host, port, error.message()));
    }
    const std::uint16_t bound = acceptor.local_endpoint(error).port();
    listeners_.push_back({kind, bound, std::move(acceptor), asio::steady_timer(accept_context())});
    return Status();
  }

  void Accept(Listener& listener) {
    IoThread& target = NextThread();
    listener.acceptor.async_accept(
        target.context(),
        [this, &listener, &target](const boost::system::error_code& error, TcpSocket socket) {
          if (error == asio::error::operation_aborted || !listener.acceptor.is_open()) return;
          if (!error) {
            Adopt(std::move(socket), target, listener.kind);
          } else if (error == asio::error::no_descriptors ||
                     error == boost::system::errc::too_many_files_open_in_system ||
                     error == asio::error::no_memory) {
            spdlog::warn("http: cannot accept a connection: {}", error.message());
            listener.pause.expires_after(kAcceptPause);
            listener.pause.async_wait([this, &listener](const boost::system::error_code& stopped) {
              if (!stopped) Accept(listener);
            });
            return;
          }
          Accept(listener);
        });
  }

  // Those that the kernel has completed already.
  void AcceptPending() {
    for (Listener& listener : listeners_) {
      while (listener.acceptor.is_open()) {
        IoThread& target = NextThread();
        boost::system::error_code error;
        TcpSocket socket = listener.acceptor.accept(target.context(), error);
        if (error) break;
        Adopt(std::move(socket), target, listener.kind);
      }
    }
  }

  void CloseListeners() {
    for (Listener& listener : listeners_) {
      boost::system::error_code ignored;
      listener.acceptor.close(ignored);
      listener.pause.cancel();
    }
  }

  IoThread& NextThread() { return *threads_[next_thread_++ % threads_.size()]; }

  void TurnAway(TcpSocket& socket, std::string_view answer) const {
    boost::system::error_code ignored;
    if (!shared_.options.tls) socket.write_some(asio::buffer(answer), ignored);
    socket.shutdown(TcpSocket::shutdown_send, ignored);
  }

  void Adopt(TcpSocket socket, IoThread& target, HttpPort kind) {
    if (shared_.connections.load(std::memory_order_relaxed) >= shared_.options.max_connections) {
      return TurnAway(socket, kTooManyConnections);
    }
    ClientConnections::Lease lease;
    if (shared_.clients != nullptr) {
      boost::system::error_code error;
      const tcp::endpoint peer = socket.remote_endpoint(error);
      std::optional<ClientConnections::Lease> opened;
      if (!error) opened = shared_.clients->Open(peer.address());
      if (!opened) return TurnAway(socket, kTooManyOfClient);
      lease = std::move(*opened);
    }
    auto connection = std::make_shared<HttpConnection>(std::move(socket), target, shared_, kind,
                                                       std::move(lease));
    asio::dispatch(target.context(), [&target, connection = std::move(connection)] {
      target.Add(connection);
      connection->Start();
    });
  }

  HttpShared shared_;
  IoThread::Turns turns_ = 0;
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::vector<Listener> listeners_;
  std::size_t next_thread_ = 0;
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(HttpOptions options, ModelService& service) {
  auto impl = std::make_unique<Impl>(std::move(options), service);
  DULY_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

std::uint16_t HttpServer::port() const { return impl_->PortOf(HttpPort::kMain).value_or(0); }
std::optional<std::uint16_t> HttpServer::metrics_port() const {
  return impl_->PortOf(HttpPort::kMetrics);
}

void HttpServer::Leave() { impl_->shared().leaving.store(true, std::memory_order_relaxed); }

void HttpServer::Drain(std::function<void()> done) { impl_->Drain(std::move(done)); }

}  // namespace duly
