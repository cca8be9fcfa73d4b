// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cli/http_fetch.h"

namespace duly {

// For tests: a server on a free port of the loopback interface that answers each request with what
// a script says, from one thread.
class ScriptedServer {
 public:
  struct Request {
    std::string method;
    std::string target;
    std::string head;
    std::string body;
    int number = 0;  // of all requests, from 0
  };
  struct Reply {
    std::string bytes;  // as they go over the wire; empty: no answer
    bool close = false;
  };
  using Script = std::function<Reply(const Request&)>;

  static Reply Answer(int status, std::string_view body, std::string_view headers = "") {
    return {fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(),
                        headers, body),
            false};
  }
  // A JSON part followed by binary data.
  static Reply Binary(std::string_view json, std::string_view data) {
    return Answer(200, std::string(json) + std::string(data),
                  fmt::format("Inference-Header-Content-Length: {}\r\n", json.size()));
  }

  explicit ScriptedServer(Script script)
      : script_(std::move(script)),
        listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        stop_(::eventfd(0, EFD_CLOEXEC)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    DULY_CHECK(::bind(listener_.get(), raw, size) == 0 && ::listen(listener_.get(), 512) == 0);
    DULY_CHECK(::getsockname(listener_.get(), raw, &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this] { Run(); });
  }
  ~ScriptedServer() {
    const std::uint64_t one = 1;
    DULY_CHECK(::write(stop_.get(), &one, sizeof(one)) == sizeof(one));
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  int connections() const { return connections_; }
  int closed_by_client() const { return closed_by_client_; }
  std::vector<Request> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void Run() {
    for (;;) {
      std::vector<pollfd> fds = {{stop_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
      for (const auto& [fd, open] : open_) fds.push_back({fd, POLLIN, 0});
      if (::poll(fds.data(), fds.size(), -1) < 0) continue;
      if (fds[0].revents != 0) return;
      if (fds[1].revents != 0) {
        const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        open_[fd].fd = UniqueFd(fd);
        ++connections_;
      }
      for (std::size_t i = 2; i < fds.size(); ++i) {
        if (fds[i].revents != 0) Serve(fds[i].fd);
      }
    }
  }

  void Serve(int fd) {
    char block[65536];
    const ssize_t size = ::recv(fd, block, sizeof(block), 0);
    if (size <= 0) {
      ++closed_by_client_;
      open_.erase(fd);
      return;
    }
    std::string& text = open_[fd].text;
    text.append(block, static_cast<std::size_t>(size));
    for (std::size_t head_size; (head_size = text.find("\r\n\r\n")) != std::string::npos;) {
      Request request;
      request.head = text.substr(0, head_size + 4);
      std::size_t length = 0;
      constexpr std::string_view kLength = "\r\nContent-Length: ";
      if (const std::size_t at = request.head.find(kLength); at != std::string::npos) {
        const char* digits = request.head.data() + at + kLength.size();
        std::from_chars(digits, request.head.data() + request.head.size(), length);
      }
      if (text.size() < head_size + 4 + length) return;
      request.body = text.substr(head_size + 4, length);
      text.erase(0, head_size + 4 + length);
      request.method = request.head.substr(0, request.head.find(' '));
      const std::size_t target = request.method.size() + 1;
      request.target = request.head.substr(target, request.head.find(' ', target) - target);
      request.number = count_++;
      const Reply reply = script_(request);
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(std::move(request));
      }
      std::string_view left = reply.bytes;
      while (!left.empty()) {
        const ssize_t sent = ::send(fd, left.data(), left.size(), MSG_NOSIGNAL);
        if (sent <= 0) break;
        left.remove_prefix(static_cast<std::size_t>(sent));
      }
      if (reply.close) {
        open_.erase(fd);
        return;
      }
    }
  }

  struct Open {
    UniqueFd fd;
    std::string text;
  };
  Script script_;
  UniqueFd listener_;
  UniqueFd stop_;
  int port_ = 0;
  int count_ = 0;
  std::map<int, Open> open_;
  std::atomic<int> connections_{0};
  std::atomic<int> closed_by_client_{0};
  std::mutex mutex_;
  std::vector<Request> requests_;
  std::jthread thread_;
};

}  // namespace duly
