// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "server/io_thread.h"
#include "server/tls.h"

namespace duly {

// The bytes of a connection: those of its socket, or what TLS makes of them.
// Threading: on its I/O thread.
class Transport {
 public:
  // tls: null: plain bytes. Outlives the transport. protocol: see TlsSession.
  Transport(TcpSocket socket, const TlsContext* tls, TlsProtocol protocol)
      : socket_(std::move(socket)) {
    if (tls != nullptr) session_.emplace(*tls, socket_.native_handle(), protocol);
  }

  // For what does not touch the bytes; it must not block.
  TcpSocket& socket() { return socket_; }

  // As TcpSocket's. The handler keeps the transport alive.
  template <typename Handler>
  void AsyncReadSome(boost::asio::mutable_buffer into, Handler handler) {
    if (!session_) return socket_.async_read_some(into, std::move(handler));
    ReadSession(into, std::move(handler));
  }
  // Reads what is there; would_block when that is nothing: AsyncWaitReadable tells when to try
  // again.
  std::size_t ReadSome(boost::asio::mutable_buffer into, boost::system::error_code& error);
  // The handler, called with an error code, keeps the transport alive.
  template <typename Handler>
  void AsyncWaitReadable(Handler handler) {
    socket_.async_wait(readable_, std::move(handler));
  }
  // Writes what can be written at once; would_block when that is nothing: the socket can be waited
  // for, and then the same bytes, or they with more behind them, written again.
  std::size_t WriteSome(std::span<const boost::asio::const_buffer> from,
                        boost::system::error_code& error);
  // Bytes have come that nobody has read.
  bool HasUnread();
  // Ends what the client reads; what it sends may still come.
  void FinishWriting();

 private:
  using Handler = std::function<void(const boost::system::error_code&, std::size_t)>;

  void ReadSession(boost::asio::mutable_buffer into, Handler handler);

  TcpSocket socket_;
  std::optional<TlsSession> session_;
  TcpSocket::wait_type readable_ = TcpSocket::wait_read;  // what the next read waits for
};

}  // namespace duly
