// SPDX-License-Identifier: Apache-2.0
#include "server/http_client_test_util.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

#include "base/check.h"

namespace duly {

TestClient::TestClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  DULY_CHECK(socket_ >= 0);
  const timeval limit{10, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  const int on = 1;  // a request in two pieces must not wait for the first one's acknowledgement
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  DULY_CHECK(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
}

TestClient::~TestClient() { ::close(socket_); }

bool TestClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool TestClient::IsAcknowledged() const {
  int unacknowledged = 0;
  return ::ioctl(socket_, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0;
}

void TestClient::FinishSending() { ::shutdown(socket_, SHUT_WR); }

void TestClient::Reset() {
  const linger now{1, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  ::close(socket_);
  socket_ = -1;
}

bool TestClient::Receive() {
  std::array<char, 65536> bytes{};
  const ssize_t received = ::recv(socket_, bytes.data(), bytes.size(), 0);
  if (received <= 0) return false;
  received_.append(bytes.data(), static_cast<std::size_t>(received));
  return true;
}

TestReply TestClient::Read(Body body) {
  TestReply reply;
  std::size_t end = 0;
  while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!Receive()) return reply;
  }
  const std::string head = received_.substr(0, end + 2);
  received_.erase(0, end + 4);
  std::size_t line = head.find("\r\n") + 2;
  while (line < head.size()) {
    const std::size_t line_end = head.find("\r\n", line);
    const std::size_t colon = head.find(": ", line);
    DULY_CHECK(colon < line_end);
    std::string name = head.substr(line, colon - line);
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    reply.headers[name] = head.substr(colon + 2, line_end - colon - 2);
    line = line_end + 2;
  }
  const int code = std::atoi(head.substr(9, 3).c_str());
  if (body == Body::kPresent && reply.headers.contains("content-length")) {
    const std::size_t size = std::stoul(reply.headers["content-length"]);
    while (received_.size() < size) {
      if (!Receive()) return reply;
    }
    reply.body = received_.substr(0, size);
    received_.erase(0, size);
  }
  reply.code = code;
  return reply;
}

bool TestClient::ReadsEnd() {
  char byte = 0;
  return received_.empty() && ::recv(socket_, &byte, 1, 0) == 0;
}

std::string GetRequest(std::string_view target) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", target);
}

std::string PostRequest(std::string_view target, std::string_view body, std::string_view headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{}\r\n{}", target,
                     body.size(), headers, body);
}

}  // namespace duly
