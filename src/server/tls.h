// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/types.h>

#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace duly {

// PEM files.
struct TlsFiles {
  std::string certificate;  // and those between it and a root
  std::string key;
  std::string client_ca;  // empty: clients need no certificate
};

// A server's certificate and what it asks of clients, for both protocols; TLS 1.2 and later.
// Threading: immutable, from any thread.
class TlsContext {
 public:
  // kInvalidArgument, naming the file, when they cannot be read or do not fit each other.
  static Result<std::shared_ptr<const TlsContext>> Load(const TlsFiles& files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  SSL_CTX* context() const { return context_; }

 private:
  TlsContext();

  SSL_CTX* const context_;
};

// What is spoken over TLS (RFC 7301).
enum class TlsProtocol : std::uint8_t { kHttp1, kHttp2 };

// The server's side of TLS on a socket that does not block and outlives it. Errors: would_block
// until the socket can do what wants() says; eof once the client has said that it sends no more; a
// connection that ends otherwise, or breaks the protocol, is connection_reset. Reads also do the
// handshake; writes come after the first read that gave bytes.
// Threading: one thread at a time.
class TlsSession {
 public:
  enum class Wants : std::uint8_t { kRead, kWrite };

  // protocol: what clients that name some are told. Those that do not name HTTP/2 where that is
  // spoken are refused.
  TlsSession(const TlsContext& context, int socket, TlsProtocol protocol);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  std::size_t Read(boost::asio::mutable_buffer into, boost::system::error_code& error);
  // What would_block left must be written again, with the same bytes or more behind them, before
  // anything else.
  std::size_t Write(boost::asio::const_buffer from, boost::system::error_code& error);
  Wants wants() const { return wants_; }
  // Bytes that Read gives without looking at the socket.
  std::size_t pending() const;
  // Tells the client that nothing more will be written.
  void FinishWriting();

 private:
  boost::system::error_code ErrorOf(int result);

  SSL* const session_;
  Wants wants_ = Wants::kRead;
};

}  // namespace duly
