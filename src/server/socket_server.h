// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/io_connection.h"

namespace duly {

// Listens, and gives those who connect to its I/O threads in turn.
// Life: Listen -> Serve -> Drain -> destruction. Threading: all methods from any one thread.
class SocketServer {
 public:
  // Makes what serves a client; null when it has been turned away. Which listener it came to: in
  // the order of Listen. Called on the first of the threads.
  using Adopt = std::function<std::shared_ptr<IoConnection>(TcpSocket socket, IoThread& thread,
                                                            std::size_t listener)>;

  // name: of the threads, "duly-http". tick: see IoThread.
  SocketServer(std::string name, std::uint32_t threads, Duration tick, Adopt adopt);
  // Closes everything at once; requests in the node are cancelled, and their ends awaited.
  ~SocketServer();
  SocketServer(const SocketServer&) = delete;
  SocketServer& operator=(const SocketServer&) = delete;

  // host: name or address; what it resolves to first is bound. port: 0: any free one. Returns the
  // port. kInvalidArgument or kUnavailable when the address cannot be had.
  Result<std::uint16_t> Listen(const std::string& host, std::uint16_t port);
  void Serve();
  // Takes no new connections, and closes those that there are when they have nothing to answer;
  // then calls `done` once, on one of the threads.
  void Drain(std::function<void()> done);

 private:
  struct Listener {
    std::size_t number;
    boost::asio::ip::tcp::acceptor acceptor;
    boost::asio::steady_timer pause;
  };

  boost::asio::io_context& accept_context() { return threads_.front()->context(); }
  // Runs `work` on the thread that accepts, and waits for it.
  void OnAcceptThread(const std::function<void()>& work);
  void Accept(Listener& listener);
  void AcceptPending();
  void CloseListeners();
  IoThread& NextThread() { return *threads_[next_thread_++ % threads_.size()]; }
  void Give(TcpSocket socket, IoThread& target, std::size_t listener);

  const std::string name_;
  const Adopt adopt_;
  IoThread::Turns turns_ = 0;
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::list<Listener> listeners_;
  std::size_t next_thread_ = 0;
};

}  // namespace duly
