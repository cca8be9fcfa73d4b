// SPDX-License-Identifier: Apache-2.0
#include "cli/http_fetch.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

#include "cli/http_response.h"

namespace duly {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::string ErrorText(int error) { return std::generic_category().message(error); }

// Waits for the events until the deadline; false when it passed.
bool WaitFor(int fd, short events, SteadyClock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
    if (left.count() <= 0) return false;
    pollfd poll_fd{fd, events, 0};
    const int ready =
        ::poll(&poll_fd, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the next call on the socket says why
  }
}

// Connected before the deadline.
Result<UniqueFd> Connect(const HttpEndpoint& endpoint, SteadyClock::time_point deadline) {
  DULY_ASSIGN_OR_RETURN(UniqueFd fd, BeginConnect(endpoint));
  if (!WaitFor(fd.get(), POLLOUT, deadline)) {
    return Error(StatusCode::kUnavailable, "{} does not accept connections in time", endpoint.host);
  }
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    return Error(StatusCode::kUnavailable, "cannot connect to {}: {}", endpoint.host,
                 ErrorText(error));
  }
  return fd;
}

struct Url {
  std::string host;  // as a resolver takes it: without brackets
  std::string port = "80";
  std::string authority;
  std::string prefix;
};

std::optional<Url> ParseUrl(std::string_view text) {
  constexpr std::string_view kScheme = "http://";
  if (!text.starts_with(kScheme)) return std::nullopt;
  text.remove_prefix(kScheme.size());
  const bool clean = std::all_of(text.begin(), text.end(), [](char c) {
    return c > 0x20 && c < 0x7f && c != '?' && c != '#' && c != '@';
  });
  if (!clean) return std::nullopt;
  Url url;
  const std::size_t slash = std::min(text.find('/'), text.size());
  url.prefix = text.substr(slash);
  while (url.prefix.ends_with('/')) url.prefix.pop_back();
  std::string_view authority = text.substr(0, slash);
  url.authority = authority;
  if (authority.starts_with('[')) {
    const std::size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    url.host = authority.substr(1, bracket - 1);
    authority.remove_prefix(bracket + 1);
  } else {
    url.host = authority.substr(0, authority.find(':'));
    authority.remove_prefix(url.host.size());
  }
  if (!authority.empty()) {
    url.port = authority.substr(1);
    const bool digits = std::all_of(url.port.begin(), url.port.end(),
                                    [](unsigned char c) { return std::isdigit(c) != 0; });
    if (authority.front() != ':' || url.port.empty() || url.port.size() > 5 || !digits) {
      return std::nullopt;
    }
  }
  if (url.host.empty()) return std::nullopt;
  return url;
}

}  // namespace

Result<UniqueFd> BeginConnect(const HttpEndpoint& endpoint) {
  UniqueFd fd(::socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return Error(StatusCode::kResourceExhausted, "no socket: {}", ErrorText(errno));
  }
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const auto* address = reinterpret_cast<const sockaddr*>(&endpoint.address);
  if (::connect(fd.get(), address, endpoint.address_size) < 0 && errno != EINPROGRESS) {
    return Error(StatusCode::kUnavailable, "cannot connect to {}: {}", endpoint.host,
                 ErrorText(errno));
  }
  return fd;
}

Result<HttpEndpoint> FindHttpServer(std::string_view url_text, Duration timeout) {
  const std::optional<Url> url = ParseUrl(url_text);
  if (!url) {
    return Error(StatusCode::kInvalidArgument, "'{}' is not a URL: expected http://HOST:PORT",
                 url_text);
  }
  const SteadyClock::time_point deadline = SteadyClock::now() + timeout;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(url->host.c_str(), url->port.c_str(), &hints, &list);
  if (error != 0) {
    return Error(StatusCode::kUnavailable, "no address of {}: {}", url->host,
                 ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, &::freeaddrinfo);
  Status last(StatusCode::kUnavailable, "no address of " + url->host);
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    HttpEndpoint endpoint;
    endpoint.host = url->authority;
    endpoint.prefix = url->prefix;
    std::memcpy(&endpoint.address, entry->ai_addr, entry->ai_addrlen);
    endpoint.address_size = entry->ai_addrlen;
    const Result<UniqueFd> fd = Connect(endpoint, deadline);
    if (fd) return endpoint;
    last = fd.error();
  }
  return Error(std::move(last));
}

Result<HttpResponse> HttpFetch(const HttpEndpoint& endpoint, std::string_view method,
                               std::string_view target, std::string_view body, Duration timeout) {
  const SteadyClock::time_point deadline = SteadyClock::now() + timeout;
  DULY_ASSIGN_OR_RETURN(const UniqueFd fd, Connect(endpoint, deadline));
  const std::string request = fmt::format(
      "{} {}{} HTTP/1.1\r\nHost: {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{}", method,
      endpoint.prefix, target, endpoint.host, endpoint.fields, body.size(), body);
  const Status too_slow(StatusCode::kDeadlineExceeded,
                        fmt::format("{} {}: no answer in time", method, target));
  for (std::string_view left = request; !left.empty();) {
    const ssize_t sent = ::send(fd.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      left.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno != EAGAIN && errno != EINTR) {
      break;  // the server may have answered before it closed
    } else if (!WaitFor(fd.get(), POLLOUT, deadline)) {
      return Error(too_slow);
    }
  }
  HttpResponseReader reader;
  HttpResponseReader::State state = HttpResponseReader::State::kMore;
  while (state == HttpResponseReader::State::kMore) {
    const std::span<char> space = reader.Space();
    const ssize_t size = ::recv(fd.get(), space.data(), space.size(), 0);
    if (size > 0) {
      state = reader.Add(static_cast<std::size_t>(size));
    } else if (size == 0) {
      state = reader.End();
    } else if (errno != EAGAIN && errno != EINTR) {
      return Error(StatusCode::kUnavailable, "{} {}: {}", method, target, ErrorText(errno));
    } else if (!WaitFor(fd.get(), POLLIN, deadline)) {
      return Error(too_slow);
    }
  }
  if (state == HttpResponseReader::State::kBad) {
    return Error(StatusCode::kInternal, "{} {}: {}", method, target, reader.error());
  }
  return HttpResponse{reader.status(), std::string(reader.body())};
}

std::string PercentEncode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 ||
        std::string_view("-._~").find(c) != std::string_view::npos) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

}  // namespace duly
