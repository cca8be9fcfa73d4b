// SPDX-License-Identifier: Apache-2.0
#include "cli/load_http.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>

#include "cli/http_response.h"
#include "cli/load_answer.h"
#include "cli/load_worker.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;
using workload::Arrival;

constexpr Duration kAnswerTimeout = std::chrono::seconds(10);
constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

// The tensors of one list of the document.
Result<std::vector<TensorSpec>> ParseTensors(const Json& document, const char* list) {
  const auto bad = [] {
    return Error(StatusCode::kInternal, "the server's answer is not a model's metadata");
  };
  if (!document.is_object() || !document.contains(list) || !document[list].is_array()) {
    return bad();
  }
  std::vector<TensorSpec> tensors;
  for (const Json& tensor : document[list]) {
    if (!tensor.is_object() || !tensor.contains("name") || !tensor["name"].is_string() ||
        !tensor.contains("datatype") || !tensor["datatype"].is_string() ||
        !tensor.contains("shape") || !tensor["shape"].is_array()) {
      return bad();
    }
    TensorSpec spec;
    spec.name = tensor["name"].get<std::string>();
    const std::optional<DataType> type = ParseDataType(tensor["datatype"].get<std::string>());
    if (!type) return bad();
    spec.type = *type;
    for (const Json& dimension : tensor["shape"]) {
      if (!dimension.is_number_integer() || dimension.get<std::int64_t>() < -1) return bad();
      spec.shape.push_back(dimension.get<std::int64_t>());
    }
    tensors.push_back(std::move(spec));
  }
  return tensors;
}

class HttpWorker final : public LoadWorker {
 public:
  HttpWorker(const HttpEndpoint& endpoint, LoadShared& shared, std::uint32_t index)
      : LoadWorker(shared, index),
        endpoint_(endpoint),
        max_connections_(std::max(1U, shared.options.max_connections / shared.options.threads)) {}

  std::size_t connections_opened() const override { return connections_opened_; }

 private:
  struct Connection {
    UniqueFd fd;
    std::uint32_t generation = 0;  // of the descriptor: events of an earlier one are stale
    bool connected = false;
    std::uint32_t request = kNone;  // index into the schedule; kNone: idle
    std::size_t written = 0;        // bytes of the request
    HttpResponseReader reader;
  };

  void Send(std::uint32_t request) override {
    waiting_.push_back(request);
    Proceed();
  }
  void Cancel(std::uint32_t request) override;
  void HandleEvent(std::uint64_t key, std::uint32_t events) override;
  // Gives waiting requests to connections, as far as there are any.
  void Proceed() override;
  void Close() override { connections_.clear(); }

  void Assign(std::uint32_t request);
  // Puts a descriptor under the connection; a failure says why there is none.
  Status Open(std::uint32_t index);
  void Disconnect(std::uint32_t index);
  void HandleConnect(std::uint32_t index);
  void Write(std::uint32_t index);
  void Read(std::uint32_t index, std::uint32_t events);
  void Answered(std::uint32_t index, std::uint32_t events);
  void Fail(std::uint32_t index, std::string_view why);

  const HttpEndpoint& endpoint_;
  const std::size_t max_connections_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::uint32_t> idle_;    // connections; the most recently used is last
  std::vector<std::uint32_t> closed_;  // connections without a descriptor
  std::deque<std::uint32_t> waiting_;  // requests for connections; some may have been cancelled
  std::vector<iovec> parts_;
  AnswerReader answers_;
  std::size_t connections_opened_ = 0;
};

void HttpWorker::Cancel(std::uint32_t request) {
  if (!End(request, Outcome::kCancelled)) return;
  const auto holder =
      std::find_if(connections_.begin(), connections_.end(),
                   [request](const auto& connection) { return connection->request == request; });
  if (holder != connections_.end()) {
    Disconnect(static_cast<std::uint32_t>(holder - connections_.begin()));
  }
}

void HttpWorker::Proceed() {
  while (!waiting_.empty()) {
    if (idle_.empty() && closed_.empty() && connections_.size() == max_connections_) return;
    const std::uint32_t request = waiting_.front();
    waiting_.pop_front();
    if (!record(request).outcome) Assign(request);
  }
}

void HttpWorker::Assign(std::uint32_t request) {
  record(request).send_lateness = shared_.Now() - shared_.schedule[request].at;
  std::uint32_t index = 0;
  if (!idle_.empty()) {
    index = idle_.back();
    idle_.pop_back();
  } else {
    if (closed_.empty()) {
      closed_.push_back(static_cast<std::uint32_t>(connections_.size()));
      connections_.push_back(std::make_unique<Connection>());
    }
    index = closed_.back();
    if (const Status status = Open(index); !status.ok()) {
      record(request).detail = Name(status.message());
      End(request, Outcome::kFailed);
      return;
    }
    closed_.pop_back();
  }
  Connection& connection = *connections_[index];
  connection.request = request;
  connection.written = 0;
  if (connection.connected) Write(index);
}

Status HttpWorker::Open(std::uint32_t index) {
  Connection& connection = *connections_[index];
  Result<UniqueFd> fd = BeginConnect(endpoint_);
  if (!fd) return fd.error();
  const std::uint64_t key = std::uint64_t{connection.generation} << 32 | index;
  if (!poller_.Add(fd->get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, key)) {
    return Status(StatusCode::kInternal, "epoll: " + std::generic_category().message(errno));
  }
  connection.fd = std::move(*fd);
  ++connections_opened_;
  return Status();
}

void HttpWorker::Disconnect(std::uint32_t index) {
  Connection& connection = *connections_[index];
  connection.fd.Reset(-1);
  ++connection.generation;
  connection.connected = false;
  connection.request = kNone;
  connection.reader.Reset();
  closed_.push_back(index);
}

void HttpWorker::HandleEvent(std::uint64_t key, std::uint32_t events) {
  const auto index = static_cast<std::uint32_t>(key);
  Connection& connection = *connections_[index];
  if (connection.generation != key >> 32) return;
  if (!connection.connected) return HandleConnect(index);
  const bool readable = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (connection.request == kNone) {
    // Closed by the server, or data that nobody asked for.
    if (!readable) return;
    std::erase(idle_, index);
    Disconnect(index);
    return;
  }
  const std::uint32_t generation = connection.generation;
  if ((events & EPOLLOUT) != 0) Write(index);
  if (readable && connection.generation == generation) Read(index, events);
}

void HttpWorker::HandleConnect(std::uint32_t index) {
  Connection& connection = *connections_[index];
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(connection.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    Fail(index, "cannot connect: " + std::generic_category().message(error));
    return;
  }
  connection.connected = true;
  Write(index);
}

void HttpWorker::Write(std::uint32_t index) {
  Connection& connection = *connections_[index];
  const LoadTarget& to = target(connection.request);
  const std::size_t size = to.size();
  while (connection.written < size) {
    to.Gather(shared_.schedule[connection.request].sequence, parts_);
    iovec* part = parts_.data();
    std::size_t skip = connection.written;
    for (; skip >= part->iov_len; ++part) skip -= part->iov_len;
    part->iov_base = static_cast<char*>(part->iov_base) + skip;
    part->iov_len -= skip;
    msghdr message{};
    message.msg_iov = part;
    message.msg_iovlen = static_cast<std::size_t>(parts_.data() + parts_.size() - part);
    const ssize_t sent = ::sendmsg(connection.fd.get(), &message, MSG_NOSIGNAL);
    if (sent >= 0) {
      connection.written += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      // A server that closed may have answered first.
      return Read(index, EPOLLHUP);
    }
  }
}

void HttpWorker::Read(std::uint32_t index, std::uint32_t events) {
  HttpResponseReader& reader = connections_[index]->reader;
  using State = HttpResponseReader::State;
  const bool ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  State state = State::kMore;
  while (state == State::kMore) {
    const std::span<char> space = reader.Space();
    const ssize_t size = ::recv(connections_[index]->fd.get(), space.data(), space.size(), 0);
    if (size > 0) {
      state = reader.Add(static_cast<std::size_t>(size));
      // Nothing is left for now; the next arrival of data is another event.
      const bool drained = static_cast<std::size_t>(size) < space.size();
      if (state == State::kMore && drained && !ending) return;
    } else if (size == 0) {
      state = reader.End();
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      return Fail(index, std::generic_category().message(errno));
    }
  }
  if (state == State::kDone) {
    Answered(index, events);
  } else {
    Fail(index, reader.error());
  }
}

void HttpWorker::Answered(std::uint32_t index, std::uint32_t events) {
  Connection& connection = *connections_[index];
  const std::uint32_t request = connection.request;
  const Arrival& arrival = shared_.schedule[request];
  const LoadTarget& from = target(request);
  LoadRecord& answer = record(request);
  answer.latency = shared_.Now() - arrival.at;
  answer.status = connection.reader.status();
  Outcome outcome = ClassifyAnswer(answer.status, answer.latency, from.slo);
  if (IsAnswer(outcome)) {
    if (const std::optional<Answer> said =
            answers_.Read(connection.reader, from, arrival.sequence)) {
      answer.numbers = said->numbers;
      answer.variant = Name(said->variant);
      answer.device = Name(said->device);
    } else {
      answer.detail = Name("the answer is not an inference response");
      outcome = Outcome::kFailed;
    }
  } else if (outcome != Outcome::kExpired) {
    answer.detail = Name(answers_.ReadReason(connection.reader));
  }
  End(request, outcome);
  const bool ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (ending || !connection.reader.keep_alive() || connection.written < from.size()) {
    Disconnect(index);
    return;
  }
  connection.request = kNone;
  connection.reader.Reset();
  idle_.push_back(index);
}

void HttpWorker::Fail(std::uint32_t index, std::string_view why) {
  const std::uint32_t request = connections_[index]->request;
  record(request).detail = Name(why);
  End(request, Outcome::kFailed);
  Disconnect(index);
}

}  // namespace

Result<ModelTensors> ParseMetadata(std::string_view metadata) {
  const Json document = Json::parse(metadata, nullptr, false);
  ModelTensors tensors;
  DULY_ASSIGN_OR_RETURN(tensors.inputs, ParseTensors(document, "inputs"));
  // Who only sends needs no outputs.
  if (document.contains("outputs")) {
    DULY_ASSIGN_OR_RETURN(tensors.outputs, ParseTensors(document, "outputs"));
  }
  return tensors;
}

Result<ModelTensors> HttpLoadServer::TensorsOf(const std::string& model) const {
  const std::string target = "/v2/models/" + PercentEncode(model);
  DULY_ASSIGN_OR_RETURN(const HttpResponse response,
                        HttpFetch(endpoint_, "GET", target, "", kAnswerTimeout));
  if (response.status == 404) {
    return Error(StatusCode::kNotFound, "the server has no model '{}'", model);
  }
  if (response.status != 200) {
    const Json said = Json::parse(response.body, nullptr, false);
    const std::string why = said.is_object() && said.contains("error") && said["error"].is_string()
                                ? ": " + said["error"].get<std::string>()
                                : std::string();
    return Error(StatusCode::kUnavailable, "GET {}: HTTP status {}{}", target, response.status,
                 why);
  }
  return ParseMetadata(response.body);
}

void HttpLoadServer::Encode(const LoadRequest& request, LoadTarget& target) const {
  Json document = {{"parameters", {{"binary_data_output", true}}}, {"inputs", Json::array()}};
  for (const auto& [key, value] : request.parameters) {
    std::visit([&, &name = key](const auto& v) { document["parameters"][name] = v; }, value);
  }
  std::size_t data_size = 0;
  for (const LoadRequest::Input& input : request.inputs) {
    document["inputs"].push_back({{"name", input.name},
                                  {"shape", input.shape},
                                  {"datatype", ToString(input.type)},
                                  {"parameters", {{"binary_data_size", input.bytes}}}});
    data_size += input.bytes;
  }
  const std::string json = document.dump(-1, ' ', false, Json::error_handler_t::replace);
  target.head = fmt::format(
      "POST {}/v2/models/{}/infer HTTP/1.1\r\nHost: {}\r\n{}Content-Type: "
      "application/octet-stream\r\nInference-Header-Content-Length: {}\r\nContent-Length: "
      "{}\r\n\r\n{}",
      endpoint_.prefix, PercentEncode(request.model), endpoint_.host, endpoint_.fields, json.size(),
      json.size() + data_size, json);
}

std::unique_ptr<LoadWorker> HttpLoadServer::MakeWorker(LoadShared& shared,
                                                       std::uint32_t index) const {
  return std::make_unique<HttpWorker>(endpoint_, shared, index);
}

}  // namespace duly
