// SPDX-License-Identifier: Apache-2.0
//
// The least that an inference server over HTTP can do, as a base to compare with: plain sockets,
// one thread, the body of a POST read straight into one buffer and given back in one gather write.
// A GET is answered with the metadata of a model of one FP32 input, so that `duly load` can use it
// too. Prints its port.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "cli/http_fetch.h"
#include "echo_flags.h"

namespace duly {
namespace {

constexpr std::size_t kMaxHead = 16384;
constexpr std::string_view kMetadata =
    R"({"name":"echo","versions":["1"],"platform":"echo","inputs":[{"name":"in0","datatype":"FP32",)"
    R"("shape":[-1,16]}],"outputs":[]})";

// The number behind "\r\nNAME:" in a head, or nothing. The client here always writes names so.
std::optional<std::size_t> HeaderNumber(std::string_view head, std::string_view name) {
  const std::size_t at = head.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view text = head.substr(at + name.size());
  while (text.starts_with(' ')) text.remove_prefix(1);
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

class Connection {
 public:
  explicit Connection(UniqueFd fd) : fd_(std::move(fd)), buffer_(kMaxHead) {}

  // Reads and answers as far as it goes without waiting; false when the connection is done with.
  bool Advance() {
    for (;;) {
      if (answer_.size() + body_.size() > 0) {
        if (!Send()) return false;
        if (answer_.size() + body_.size() > 0) return true;
        size_ = 0;
        needed_ = 0;
      }
      if (needed_ > buffer_.size()) buffer_.resize(needed_);
      const std::size_t space = (needed_ > 0 ? needed_ : buffer_.size()) - size_;
      const ssize_t got = ::recv(fd_.get(), buffer_.data() + size_, space, 0);
      if (got < 0 && errno == EAGAIN) return true;
      if (got <= 0) return false;
      size_ += static_cast<std::size_t>(got);
      if (needed_ == 0 && !ReadHead()) return false;
      if (needed_ > 0 && size_ >= needed_) MakeAnswer();
    }
  }

 private:
  bool ReadHead() {
    const std::string_view text(buffer_.data(), size_);
    const std::size_t end = text.find("\r\n\r\n");
    if (end == std::string_view::npos) return size_ < kMaxHead;
    head_size_ = end + 4;
    const std::string_view head = text.substr(0, head_size_);
    needed_ = head_size_ + HeaderNumber(head, "\r\nContent-Length:").value_or(0);
    is_get_ = head.starts_with("GET ");
    json_size_ = HeaderNumber(head, "\r\nInference-Header-Content-Length:");
    closes_ = head.find("\r\nConnection: close") != std::string_view::npos;
    return true;
  }

  void MakeAnswer() {
    body_ =
        is_get_ ? kMetadata : std::string_view(buffer_.data() + head_size_, needed_ - head_size_);
    head_ = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body_.size()) + "\r\n";
    if (json_size_) {
      head_ += "Inference-Header-Content-Length: " + std::to_string(*json_size_) + "\r\n";
    }
    if (closes_) head_ += "Connection: close\r\n";
    head_ += "\r\n";
    answer_ = head_;
  }

  bool Send() {
    while (answer_.size() + body_.size() > 0) {
      std::array<iovec, 2> parts{{{const_cast<char*>(answer_.data()), answer_.size()},
                                  {const_cast<char*>(body_.data()), body_.size()}}};
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = parts.size();
      const ssize_t sent = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN;
      const std::size_t of_head = std::min(static_cast<std::size_t>(sent), answer_.size());
      answer_.remove_prefix(of_head);
      body_.remove_prefix(static_cast<std::size_t>(sent) - of_head);
    }
    return !closes_;
  }

  UniqueFd fd_;
  std::vector<char> buffer_;
  std::size_t size_ = 0;    // read
  std::size_t needed_ = 0;  // of the request; 0: its head is not complete
  std::size_t head_size_ = 0;
  std::optional<std::size_t> json_size_;
  bool is_get_ = false;
  bool closes_ = false;
  std::string head_;
  std::string_view answer_;  // what is left to send of the head
  std::string_view body_;    // and of the body
};

// Accepts connections and serves them, on the calling thread alone.
[[noreturn]] void Serve(int listener) {
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  const auto add = [&epoll](int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
  };
  add(listener, EPOLLIN | EPOLLEXCLUSIVE);
  std::unordered_map<int, Connection> connections;
  std::array<epoll_event, 64> events{};
  for (;;) {
    const int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener) {
        const int accepted = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted < 0) continue;
        const int on = 1;
        ::setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        connections.emplace(accepted, UniqueFd(accepted));
        add(accepted, EPOLLIN | EPOLLOUT | EPOLLET);
      } else if (const auto found = connections.find(fd);
                 found != connections.end() && !found->second.Advance()) {
        connections.erase(found);
      }
    }
  }
}

int Run(const EchoFlags& flags) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(flags.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), raw, size) < 0 || ::listen(listener.get(), 1024) < 0 ||
      ::getsockname(listener.get(), raw, &size) < 0) {
    std::cerr << std::strerror(errno) << '\n';
    return 1;
  }
  std::cout << ntohs(address.sin_port) << std::endl;
  std::vector<std::jthread> pool;
  for (int i = 1; i < flags.threads; ++i) pool.emplace_back([&listener] { Serve(listener.get()); });
  Serve(listener.get());
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) {
  return duly::RunEchoServer(argc, argv, "Echo server over plain sockets.", duly::Run);
}
