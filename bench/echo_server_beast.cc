// SPDX-License-Identifier: Apache-2.0
//
// What Boost.Beast costs by itself, as a base to compare with: asynchronous, its usual string_body,
// the body of a request given back as it came. Prints its port.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "echo_flags.h"

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr std::uint64_t kMaxBody = std::uint64_t{1} << 30;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : stream_(std::move(socket)) {
    stream_.socket().set_option(tcp::no_delay(true));
  }

  void Read() {
    parser_.emplace();
    parser_->body_limit(kMaxBody);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                       if (!error) self->Answer();
                     });
  }

 private:
  void Answer() {
    http::request<http::string_body> request = parser_->release();
    response_ = {http::status::ok, request.version()};
    response_.keep_alive(request.keep_alive());
    response_.body() = std::move(request.body());
    response_.prepare_payload();
    http::async_write(stream_, response_,
                      [self = shared_from_this()](beast::error_code error, std::size_t) {
                        if (!error && self->response_.keep_alive()) self->Read();
                      });
  }

  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
};

void Accept(asio::io_context& context, tcp::acceptor& acceptor) {
  acceptor.async_accept(asio::make_strand(context),
                        [&](beast::error_code error, tcp::socket socket) {
                          if (!error) std::make_shared<Session>(std::move(socket))->Read();
                          Accept(context, acceptor);
                        });
}

int Run(const duly::EchoFlags& flags) {
  try {
    asio::io_context context(flags.threads);
    tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), flags.port});
    std::cout << acceptor.local_endpoint().port() << std::endl;
    Accept(context, acceptor);
    std::vector<std::jthread> pool;
    for (int i = 1; i < flags.threads; ++i) pool.emplace_back([&context] { context.run(); });
    context.run();
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return duly::RunEchoServer(argc, argv, "Echo server on Boost.Beast.", Run);
}
