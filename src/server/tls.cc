// SPDX-License-Identifier: Apache-2.0
#include "server/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/error.hpp>
#include <cerrno>
#include <climits>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/file.h"

namespace duly {
namespace {

namespace asio = boost::asio;

// OpenSSL's own socket writes raise SIGPIPE.
int SendBytes(BIO* bio, const char* bytes, int count) {
  BIO_clear_retry_flags(bio);
  const auto socket = static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
  const ssize_t sent = send(socket, bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int ReceiveBytes(BIO* bio, char* bytes, int count) {
  BIO_clear_retry_flags(bio);
  const auto socket = static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
  const ssize_t received = recv(socket, bytes, static_cast<std::size_t>(count), 0);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(received);
}

// NOLINTNEXTLINE(google-runtime-int): as OpenSSL declares it
long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* SocketMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    DULY_CHECK(made != nullptr);
    BIO_meth_set_write(made, SendBytes);
    BIO_meth_set_read(made, ReceiveBytes);
    BIO_meth_set_ctrl(made, Control);
    return made;
  }();
  return method;
}

// Why the last call failed; forgets it.
std::string Reason() {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_peek_last_error(), text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

int IntSize(std::size_t size) { return static_cast<int>(std::min<std::size_t>(size, INT_MAX)); }

constexpr TlsProtocol kHttp1 = TlsProtocol::kHttp1;
constexpr TlsProtocol kHttp2 = TlsProtocol::kHttp2;

int SelectProtocol(SSL* session, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* offered, unsigned int offered_size, void* /*unused*/) {
  const bool http2 = *static_cast<const TlsProtocol*>(SSL_get_app_data(session)) == kHttp2;
  const std::string_view ours = http2 ? "\x02h2" : "\x08http/1.1";
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_size,
                            reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned int>(ours.size()), offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return http2 ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

TlsContext::TlsContext() : context_(SSL_CTX_new(TLS_server_method())) {
  DULY_CHECK(context_ != nullptr);
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::shared_ptr<const TlsContext>> TlsContext::Load(const TlsFiles& files) {
  std::shared_ptr<TlsContext> made(new TlsContext);
  SSL_CTX* const context = made->context_;
  ERR_clear_error();
  const auto fault = [](const std::string& file, std::string_view expected) {
    return Error(StatusCode::kInvalidArgument, "{}: expected {} ({})", file, expected, Reason());
  };
  // OpenSSL does not say of a file why it cannot be read.
  for (const std::string* file : {&files.certificate, &files.key, &files.client_ca}) {
    if (file->empty()) continue;
    if (const Result<std::string> read = ReadFile(*file); !read) {
      return Error(read.error().WithContext(*file));
    }
  }
  // Else it asks on the terminal.
  SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return -1; });
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1) {
    return fault(files.certificate, "a certificate in PEM");
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return fault(files.key, "the certificate's private key in PEM, without a passphrase");
  }
  if (!files.client_ca.empty()) {
    STACK_OF(X509_NAME)* const names = SSL_load_client_CA_file(files.client_ca.c_str());
    if (names == nullptr || SSL_CTX_load_verify_file(context, files.client_ca.c_str()) != 1) {
      sk_X509_NAME_pop_free(names, X509_NAME_free);
      return fault(files.client_ca, "certificates in PEM");
    }
    SSL_CTX_set_client_CA_list(context, names);  // owns them now
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(context, SelectProtocol, nullptr);
  constexpr std::string_view kSessions = "duly";
  SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(kSessions.data()),
                                 kSessions.size());
  return std::shared_ptr<const TlsContext>(std::move(made));
}

TlsSession::TlsSession(const TlsContext& context, int socket, TlsProtocol protocol)
    : session_(SSL_new(context.context())) {
  BIO* const bio = BIO_new(SocketMethod());
  DULY_CHECK(session_ != nullptr && bio != nullptr);
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket)));
  BIO_set_init(bio, 1);
  SSL_set_bio(session_, bio, bio);
  SSL_set_accept_state(session_);
  SSL_set_app_data(session_, const_cast<TlsProtocol*>(protocol == kHttp2 ? &kHttp2 : &kHttp1));
}

TlsSession::~TlsSession() { SSL_free(session_); }

std::size_t TlsSession::Read(asio::mutable_buffer into, boost::system::error_code& error) {
  ERR_clear_error();
  const int result = SSL_read(session_, into.data(), IntSize(into.size()));
  if (result > 0) {
    error.clear();
    return static_cast<std::size_t>(result);
  }
  error = ErrorOf(result);
  return 0;
}

std::size_t TlsSession::Write(asio::const_buffer from, boost::system::error_code& error) {
  ERR_clear_error();
  const int result = SSL_write(session_, from.data(), IntSize(from.size()));
  if (result > 0) {
    error.clear();
    return static_cast<std::size_t>(result);
  }
  error = ErrorOf(result);
  // Only before the handshake has ended; to wait for the socket to take bytes would not end it.
  if (error == asio::error::would_block && wants_ == Wants::kRead) {
    error = asio::error::connection_reset;
  }
  return 0;
}

std::size_t TlsSession::pending() const { return static_cast<std::size_t>(SSL_pending(session_)); }

void TlsSession::FinishWriting() {
  ERR_clear_error();
  SSL_shutdown(session_);  // one that cannot be sent now is not sent: the socket ends as well
}

boost::system::error_code TlsSession::ErrorOf(int result) {
  switch (SSL_get_error(session_, result)) {
    case SSL_ERROR_WANT_READ:
      wants_ = Wants::kRead;
      return asio::error::would_block;
    case SSL_ERROR_WANT_WRITE:
      wants_ = Wants::kWrite;
      return asio::error::would_block;
    case SSL_ERROR_ZERO_RETURN:
      return asio::error::eof;
    default:
      return asio::error::connection_reset;
  }
}

}  // namespace duly
