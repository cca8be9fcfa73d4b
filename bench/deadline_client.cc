// SPDX-License-Identifier: Apache-2.0
//
// The deadline experiment: rounds of requests, a fixed time apart, to a model that takes much
// longer than they may wait; what a server tells each, and after how long, seen by a client that is
// about as cheap as a client can be. A round begins when all answers of the last one are there.
// Prints JSON: by place in the round and by status, how many answers there were, and the least,
// median and greatest time from sending a request to having its answer.
#include <poll.h>
#include <sys/socket.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/flags.h"
#include "cli/http_fetch.h"
#include "cli/http_response.h"

namespace duly {
namespace {

using SteadyClock = std::chrono::steady_clock;
using State = HttpResponseReader::State;

struct Settings {
  std::string url = "http://127.0.0.1:8000";
  std::string model = "slow";
  std::string parameter = "timeout";
  std::optional<Duration> limit;
  std::optional<Duration> interval;
  std::size_t requests = 4;
  int rounds = 10;
};

struct Connection {
  UniqueFd fd;
  HttpResponseReader reader;
  SteadyClock::time_point begun;
  bool busy = false;
};

class Client {
 public:
  // By status: what answers of one place in the round took.
  using Latencies = std::map<int, std::vector<Duration>>;

  Client(std::string request, Duration interval)
      : request_(std::move(request)), interval_(interval) {}

  Status Connect(const HttpEndpoint& endpoint, std::size_t count);
  Status Round();
  const std::vector<Latencies>& latencies() const { return latencies_; }

 private:
  Status Send(Connection& connection);
  // What there is to read of an answer; notes the answer that is complete.
  Status Receive(std::size_t place);
  // Until something can be read of a busy connection, or until the time.
  void Wait(std::optional<SteadyClock::time_point> until);

  std::string request_;
  Duration interval_;
  std::vector<Connection> connections_;
  std::vector<pollfd> polled_;
  std::vector<Latencies> latencies_;
};

Status Client::Connect(const HttpEndpoint& endpoint, std::size_t count) {
  connections_.resize(count);
  latencies_.resize(count);
  for (Connection& connection : connections_) {
    Result<UniqueFd> fd = BeginConnect(endpoint);
    if (!fd) return fd.error();
    connection.fd = std::move(*fd);
    pollfd writable{connection.fd.get(), POLLOUT, 0};
    if (::poll(&writable, 1, 5000) != 1 || (writable.revents & (POLLERR | POLLHUP)) != 0) {
      return Status(StatusCode::kUnavailable, "cannot connect");
    }
    polled_.push_back({-1, POLLIN, 0});
  }
  return Status();
}

Status Client::Send(Connection& connection) {
  connection.reader.Reset();
  connection.busy = true;
  connection.begun = SteadyClock::now();
  const ssize_t sent = ::send(connection.fd.get(), request_.data(), request_.size(), MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(request_.size())) return Status();
  return Status(StatusCode::kUnavailable, fmt::format("send: {}", std::strerror(errno)));
}

Status Client::Receive(std::size_t place) {
  Connection& connection = connections_[place];
  const std::span<char> space = connection.reader.Space();
  const ssize_t size = ::recv(connection.fd.get(), space.data(), space.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return Status();
  if (size <= 0) return Status(StatusCode::kUnavailable, "the server closed a connection");
  const State state = connection.reader.Add(static_cast<std::size_t>(size));
  if (state == State::kMore) return Status();
  if (state == State::kBad || !connection.reader.keep_alive()) {
    return Status(StatusCode::kInternal, fmt::format("bad answer: {} {}", connection.reader.error(),
                                                     connection.reader.status()));
  }
  latencies_[place][connection.reader.status()].push_back(SteadyClock::now() - connection.begun);
  connection.busy = false;
  return Status();
}

void Client::Wait(std::optional<SteadyClock::time_point> until) {
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    polled_[i].fd = connections_[i].busy ? connections_[i].fd.get() : -1;
    polled_[i].revents = 0;
  }
  timespec left{};
  if (until) {
    const Duration ns = std::max<Duration>(Duration(0), *until - SteadyClock::now());
    left = {ns / std::chrono::seconds(1), (ns % std::chrono::seconds(1)).count()};
  }
  ::ppoll(polled_.data(), polled_.size(), until ? &left : nullptr, nullptr);
}

Status Client::Round() {
  const SteadyClock::time_point begin = SteadyClock::now();
  std::size_t sent = 0;
  const auto busy = [](const Connection& connection) { return connection.busy; };
  while (sent < connections_.size() || std::ranges::any_of(connections_, busy)) {
    std::optional<SteadyClock::time_point> next;
    if (sent < connections_.size()) next = begin + static_cast<int>(sent) * interval_;
    if (next && SteadyClock::now() >= *next) {
      if (const Status status = Send(connections_[sent]); !status.ok()) return status;
      ++sent;
      continue;
    }
    Wait(next);
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      if (polled_[i].revents != 0)
        if (const Status status = Receive(i); !status.ok()) return status;
    }
  }
  return Status();
}

nlohmann::ordered_json ToJson(const Client::Latencies& latencies) {
  nlohmann::ordered_json by_status = nlohmann::ordered_json::object();
  for (const auto& [status, all] : latencies) {
    std::vector<Duration> sorted = all;
    std::ranges::sort(sorted);
    by_status[std::to_string(status)] = {{"answers", sorted.size()},
                                         {"min_ms", ToMillis(sorted.front())},
                                         {"median_ms", ToMillis(sorted[sorted.size() / 2])},
                                         {"max_ms", ToMillis(sorted.back())}};
  }
  return by_status;
}

Status Measure(const Settings& settings) {
  const Result<HttpEndpoint> endpoint = FindHttpServer(settings.url, std::chrono::seconds(5));
  if (!endpoint) return endpoint.error();
  const Duration limit = settings.limit.value_or(std::chrono::milliseconds(20));
  const Duration interval = settings.interval.value_or(std::chrono::milliseconds(20));
  const nlohmann::ordered_json body = {
      {"parameters", {{settings.parameter, limit / std::chrono::microseconds(1)}}},
      {"inputs", {{{"name", "in0"}, {"shape", {1}}, {"datatype", "FP32"}, {"data", {0.5}}}}}};
  const std::string text = body.dump();
  Client client(fmt::format("POST {}/v2/models/{}/infer HTTP/1.1\r\nHost: {}\r\nContent-Type: "
                            "application/json\r\nContent-Length: {}\r\n\r\n{}",
                            endpoint->prefix, settings.model, endpoint->host, text.size(), text),
                interval);
  if (const Status status = client.Connect(*endpoint, settings.requests); !status.ok())
    return status;
  for (int i = 0; i < settings.rounds; ++i)
    if (const Status status = client.Round(); !status.ok()) return status;

  nlohmann::ordered_json report = {{"url", settings.url},
                                   {"model", settings.model},
                                   {"parameter", settings.parameter},
                                   {"limit_ms", ToMillis(limit)},
                                   {"interval_ms", ToMillis(interval)},
                                   {"rounds", settings.rounds},
                                   {"requests", nlohmann::ordered_json::array()}};
  for (const Client::Latencies& latencies : client.latencies()) {
    report["requests"].push_back(ToJson(latencies));
  }
  std::cout << report.dump(1) << '\n';
  return Status();
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Deadline experiment against an inference server over HTTP.");
  app.add_option("--url", settings.url, "Server (http://127.0.0.1:8000)");
  app.add_option("--model", settings.model, "Takes one FP32 number as in0 (slow)");
  app.add_option("--parameter", settings.parameter, "timeout or slo_us (timeout)");
  AddDuration(app, "--limit", settings.limit, "Its value (20ms)");
  AddDuration(app, "--interval", settings.interval, "Between the requests of a round (20ms)");
  app.add_option("--requests", settings.requests, "Of a round (4)")->check(CLI::PositiveNumber);
  app.add_option("--rounds", settings.rounds, "One after the other (10)")
      ->check(CLI::PositiveNumber);
  app.footer("Example:\n  deadline_client --parameter slo_us --limit 20ms");
  CLI11_PARSE(app, argc, argv);
  const Status status = Measure(settings);
  if (status.ok()) return 0;
  std::cerr << status.message() << '\n';
  return 1;
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) { return duly::Main(argc, argv); }
