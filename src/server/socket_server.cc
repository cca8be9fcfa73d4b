// SPDX-License-Identifier: Apache-2.0
#include "server/socket_server.h"

#include <fmt/format.h>

#include <atomic>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <future>
#include <utility>

#include "base/log.h"
#include "server/thread_count.h"

namespace duly {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr int kBacklog = 1024;
// How long accepting pauses when the process has no file descriptor left.
constexpr std::chrono::milliseconds kAcceptPause{100};

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

SocketServer::SocketServer(std::string name, std::uint32_t threads, Duration tick, Adopt adopt)
    : name_(std::move(name)), adopt_(std::move(adopt)) {
  const std::uint32_t count = ThreadCount(threads);
  for (std::uint32_t i = 0; i < count; ++i) {
    threads_.push_back(
        std::make_unique<IoThread>(fmt::format("duly-{}-{}", name_, i), tick, turns_));
  }
}

SocketServer::~SocketServer() {
  OnAcceptThread([this] { CloseListeners(); });
  // Behind the last handlers that know them, and before the context that they belong to.
  OnAcceptThread([this] { listeners_.clear(); });
  for (const auto& thread : threads_) {
    asio::post(thread->context(), [&io = *thread] { io.Finish(); });
  }
  threads_.clear();
}

Result<std::uint16_t> SocketServer::Listen(const std::string& host, std::uint16_t port) {
  DULY_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, Resolve(host, port));
  tcp::acceptor acceptor(accept_context());
  boost::system::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(kBacklog, error);
  if (!error) acceptor.non_blocking(true, error);
  if (error) {
    return Error(StatusCode::kUnavailable, "{} cannot listen on {}:{}: {}", name_, host, port,
                 error.message());
  }
  const std::uint16_t bound = acceptor.local_endpoint(error).port();
  listeners_.push_back(
      {listeners_.size(), std::move(acceptor), asio::steady_timer(accept_context())});
  return bound;
}

void SocketServer::Serve() {
  OnAcceptThread([this] {
    for (Listener& listener : listeners_) Accept(listener);
  });
}

void SocketServer::Drain(std::function<void()> done) {
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

void SocketServer::OnAcceptThread(const std::function<void()>& work) {
  std::promise<void> finished;
  asio::post(accept_context(), [&] {
    work();
    finished.set_value();
  });
  finished.get_future().wait();
}

void SocketServer::Accept(Listener& listener) {
  IoThread& target = NextThread();
  listener.acceptor.async_accept(
      target.context(),
      [this, &listener, &target](const boost::system::error_code& error, TcpSocket socket) {
        if (error == asio::error::operation_aborted || !listener.acceptor.is_open()) return;
        if (!error) {
          Give(std::move(socket), target, listener.number);
        } else if (error == asio::error::no_descriptors ||
                   error == boost::system::errc::too_many_files_open_in_system ||
                   error == asio::error::no_memory) {
          spdlog::warn("{}: cannot accept a connection: {}", name_, error.message());
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
void SocketServer::AcceptPending() {
  for (Listener& listener : listeners_) {
    while (listener.acceptor.is_open()) {
      IoThread& target = NextThread();
      boost::system::error_code error;
      TcpSocket socket = listener.acceptor.accept(target.context(), error);
      if (error) break;
      Give(std::move(socket), target, listener.number);
    }
  }
}

void SocketServer::CloseListeners() {
  for (Listener& listener : listeners_) {
    boost::system::error_code ignored;
    listener.acceptor.close(ignored);
    listener.pause.cancel();
  }
}

void SocketServer::Give(TcpSocket socket, IoThread& target, std::size_t listener) {
  std::shared_ptr<IoConnection> connection = adopt_(std::move(socket), target, listener);
  if (connection == nullptr) return;
  asio::dispatch(target.context(), [&target, connection = std::move(connection)] {
    target.Add(connection);
    connection->Start();
  });
}

}  // namespace duly
