// SPDX-License-Identifier: Apache-2.0
//
// A closed-loop client of the Open Inference Protocol over HTTP: every connection sends its next
// request when it has its answer. It measures what a request costs, from outside, at a fixed
// concurrency; for the behaviour under a given load use `duly load`, which is open-loop.
//
// Requests are prepared beforehand, and answers are read up to their length and dropped: the client
// is about as cheap as a client can be. One connection blocks; several share an epoll loop.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/http_fetch.h"
#include "cli/http_response.h"
#include "closed_loop.h"
#include "shared_tensors.h"

namespace duly {
namespace {

using SteadyClock = std::chrono::steady_clock;
using State = HttpResponseReader::State;

struct Settings {
  std::string url = "http://127.0.0.1:8000";
  std::string model = "copy";
  std::string input = "in0";
  std::string output = "out0";
  std::size_t elements = 16;
  bool json = false;
  ClosedLoop loop;
};

int Fail(const Status& status) {
  std::cerr << status.message() << '\n';
  return 1;
}

std::string PostOf(const HttpEndpoint& endpoint, const Settings& settings, std::string_view header,
                   std::string_view data) {
  return fmt::format(
      "POST {}/v2/models/{}/infer HTTP/1.1\r\nHost: {}\r\n{}Content-Length: {}\r\n\r\n{}",
      endpoint.prefix, settings.model, endpoint.host, header, data.size(), data);
}

// Of one call of those that share the region.
std::string MakeRequest(const Settings& settings, const HttpEndpoint& endpoint,
                        const SharedTensors& shared, std::size_t call) {
  const auto place = [&](std::size_t offset) {
    return nlohmann::ordered_json{{"shared_memory_region", shared.name()},
                                  {"shared_memory_offset", offset},
                                  {"shared_memory_byte_size", shared.tensor_bytes()}};
  };
  const nlohmann::ordered_json document = {
      {"inputs",
       {{{"name", settings.input},
         {"shape", {1, settings.elements}},
         {"datatype", "FP32"},
         {"parameters", place(0)}}}},
      {"outputs", {{{"name", settings.output}, {"parameters", place(shared.OutputAt(call))}}}}};
  return PostOf(endpoint, settings, "Content-Type: application/json\r\n", document.dump());
}

Status Register(const SharedTensors& shared, const HttpEndpoint& endpoint) {
  const nlohmann::ordered_json document = {
      {"key", shared.key()}, {"offset", 0}, {"byte_size", shared.size_bytes()}};
  const Result<HttpResponse> answer = HttpFetch(
      endpoint, "POST", fmt::format("/v2/systemsharedmemory/region/{}/register", shared.name()),
      document.dump(), std::chrono::seconds(5));
  if (!answer) return answer.error();
  return answer->status == 200 ? Status() : Status(StatusCode::kInternal, answer->body);
}

// One row of random FP32 numbers.
std::string MakeRequest(const Settings& settings, const HttpEndpoint& endpoint) {
  const std::vector<float> values = RandomInput(settings.elements);
  nlohmann::ordered_json input = {
      {"name", settings.input}, {"shape", {1, settings.elements}}, {"datatype", "FP32"}};
  nlohmann::ordered_json document;
  std::string data;
  std::string header;
  if (settings.json) {
    std::string numbers;
    for (const float value : values) {
      std::array<char, 32> text{};
      const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
      if (!numbers.empty()) numbers += ',';
      numbers.append(text.data(), end);
    }
    document["inputs"] = {input};
    std::string json = document.dump();
    // Behind the last member of the only input.
    json.insert(json.size() - 3, ",\"data\":[" + numbers + "]");
    data = std::move(json);
    header = "Content-Type: application/json\r\n";
  } else {
    const std::size_t bytes = values.size() * sizeof(float);
    input["parameters"] = {{"binary_data_size", bytes}};
    document["parameters"] = {{"binary_data_output", true}};
    document["inputs"] = {input};
    data = document.dump();
    header = fmt::format(
        "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {}\r\n",
        data.size());
    data.append(reinterpret_cast<const char*>(values.data()), bytes);
  }
  return PostOf(endpoint, settings, header, data);
}

class Client {
 public:
  // A connection for each request, which it repeats.
  Client(const HttpEndpoint& endpoint, std::span<const std::string> requests)
      : endpoint_(endpoint), connections_(requests.size()) {
    for (std::size_t i = 0; i < requests.size(); ++i) connections_[i].request = requests[i];
  }

  Status Connect();
  // Sends until the deadline, then waits for the answers on their way. Latencies of answers that
  // came before the deadline are added to `latencies`.
  Status Drive(SteadyClock::time_point deadline, std::vector<Duration>& latencies);

 private:
  struct Connection {
    std::string request;
    UniqueFd fd;
    HttpResponseReader reader;
    std::size_t written = 0;
    SteadyClock::time_point begun;
    bool busy = false;
  };

  // The next request; an answer is left to Receive.
  Status Begin(Connection& connection);
  // As far as it goes without waiting, or, with one connection, to the end.
  Status Send(Connection& connection);
  Result<State> Receive(Connection& connection);
  Status DriveOne(SteadyClock::time_point deadline, std::vector<Duration>& latencies);

  HttpEndpoint endpoint_;
  std::vector<Connection> connections_;
  UniqueFd epoll_;
};

Status Client::Connect() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    Result<UniqueFd> fd = BeginConnect(endpoint_);
    if (!fd) return fd.error();
    connections_[i].fd = std::move(*fd);
    const int raw = connections_[i].fd.get();
    // To the end of the handshake, and for good where there is but one connection.
    const int flags = ::fcntl(raw, F_GETFL);
    ::fcntl(raw, F_SETFL, flags & ~O_NONBLOCK);
    if (::connect(raw, reinterpret_cast<const sockaddr*>(&endpoint_.address),
                  endpoint_.address_size) < 0 &&
        errno != EISCONN) {
      return Status(StatusCode::kUnavailable, std::strerror(errno));
    }
    if (connections_.size() == 1) return Status();
    ::fcntl(raw, F_SETFL, flags);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = i;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, raw, &event);
  }
  return Status();
}

Status Client::Begin(Connection& connection) {
  connection.reader.Reset();
  connection.written = 0;
  connection.busy = true;
  connection.begun = SteadyClock::now();
  return Send(connection);
}

Status Client::Send(Connection& connection) {
  const std::string& request = connection.request;
  while (connection.written < request.size()) {
    const ssize_t sent = ::send(connection.fd.get(), request.data() + connection.written,
                                request.size() - connection.written, MSG_NOSIGNAL);
    if (sent > 0) {
      connection.written += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      return Status(StatusCode::kUnavailable, fmt::format("send: {}", std::strerror(errno)));
    }
  }
  return Status();
}

Result<State> Client::Receive(Connection& connection) {
  for (;;) {
    const std::span<char> space = connection.reader.Space();
    const ssize_t size = ::recv(connection.fd.get(), space.data(), space.size(), 0);
    if (size < 0 && errno == EAGAIN) return State::kMore;
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return Error(StatusCode::kUnavailable, "the server closed a connection");
    const State state = connection.reader.Add(static_cast<std::size_t>(size));
    if (state == State::kBad) {
      return Error(StatusCode::kInternal, "bad answer: {}", connection.reader.error());
    }
    if (state == State::kDone) {
      if (connection.reader.status() != 200 || !connection.reader.keep_alive()) {
        return Error(StatusCode::kInternal, "HTTP status {}: {}", connection.reader.status(),
                     connection.reader.body().substr(0, 200));
      }
      return State::kDone;
    }
    // Drained: waiting for the next event saves a call that would say so.
    if (connections_.size() > 1 && static_cast<std::size_t>(size) < space.size()) {
      return State::kMore;
    }
  }
}

Status Client::DriveOne(SteadyClock::time_point deadline, std::vector<Duration>& latencies) {
  Connection& connection = connections_[0];
  for (;;) {
    if (const Status status = Begin(connection); !status.ok()) return status;
    if (const Result<State> state = Receive(connection); !state) return state.error();
    const SteadyClock::time_point now = SteadyClock::now();
    if (now >= deadline) return Status();
    latencies.push_back(now - connection.begun);
  }
}

Status Client::Drive(SteadyClock::time_point deadline, std::vector<Duration>& latencies) {
  if (connections_.size() == 1) return DriveOne(deadline, latencies);
  std::size_t busy = 0;
  for (Connection& connection : connections_) {
    if (const Status status = Begin(connection); !status.ok()) return status;
    ++busy;
  }
  std::array<epoll_event, 64> events{};
  while (busy > 0) {
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      Connection& connection = connections_[events[static_cast<std::size_t>(i)].data.u64];
      if (!connection.busy) continue;
      if (const Status status = Send(connection); !status.ok()) return status;
      const Result<State> state = Receive(connection);
      if (!state) return state.error();
      if (*state != State::kDone) continue;
      connection.busy = false;
      --busy;
      const SteadyClock::time_point now = SteadyClock::now();
      if (now >= deadline) continue;
      latencies.push_back(now - connection.begun);
      if (const Status status = Begin(connection); !status.ok()) return status;
      ++busy;
    }
  }
  return Status();
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Closed-loop benchmark client of an inference server over HTTP.");
  app.add_option("--url", settings.url, "Server (http://127.0.0.1:8000)");
  app.add_option("--model", settings.model, "Takes one row of FP32 numbers (copy)");
  app.add_option("--input", settings.input, "Name of its input (in0)");
  app.add_option("--elements", settings.elements, "Numbers per request (16)")
      ->check(CLI::PositiveNumber);
  app.add_option("--output", settings.output, "Name of its output (out0)");
  app.add_flag("--json", settings.json, "Numbers as JSON, both ways");
  AddClosedLoop(app, settings.loop);
  app.footer("Example:\n  http_client --model copy --elements 150528 --concurrency 4");
  CLI11_PARSE(app, argc, argv);
  const Result<HttpEndpoint> endpoint = FindHttpServer(settings.url, std::chrono::seconds(5));
  if (!endpoint) return Fail(endpoint.error());
  const std::size_t calls = settings.loop.concurrency;
  std::optional<SharedTensors> shared;
  std::vector<std::string> requests;
  if (settings.loop.shared_memory) {
    shared.emplace(RandomInput(settings.elements), calls);
    if (const Status status = Register(*shared, *endpoint); !status.ok()) return Fail(status);
    for (std::size_t call = 0; call < calls; ++call) {
      requests.push_back(MakeRequest(settings, *endpoint, *shared, call));
    }
  } else {
    requests.assign(calls, MakeRequest(settings, *endpoint));
  }
  Client client(*endpoint, requests);
  if (const Status status = client.Connect(); !status.ok()) return Fail(status);
  const int exit_status =
      RunClosedLoop(settings.loop,
                    {{"url", settings.url},
                     {"model", settings.model},
                     {"tensor_bytes", settings.elements * sizeof(float)},
                     {"request_bytes", requests.front().size()},
                     {"format", shared          ? "shared memory"
                                : settings.json ? "json"
                                                : "binary"}},
                    [&client](SteadyClock::time_point deadline, std::vector<Duration>& latencies) {
                      return client.Drive(deadline, latencies);
                    });
  if (!shared || exit_status != 0) return exit_status;
  const Status status = shared->Check();
  return status.ok() ? 0 : Fail(status);
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) { return duly::Main(argc, argv); }
