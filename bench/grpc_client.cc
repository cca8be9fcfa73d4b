// SPDX-License-Identifier: Apache-2.0
//
// A closed-loop client of the Open Inference Protocol over gRPC, beside http_client: so many calls
// in flight on one connection, each followed by the next when its answer has come. The message is
// made once and sent as bytes, and answers are dropped: about as cheap as a gRPC client can be.
// Prints JSON: rate and latency percentiles of the run with the median rate, and the rates of all.
#include <fcntl.h>
#include <inference.pb.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "closed_loop.h"
#include "shared_tensors.h"

namespace duly {
namespace {

struct Settings {
  ClosedLoop loop;
  std::string address = "127.0.0.1:8001";
  std::string model = "copy";
  std::size_t elements = 16;
};

void PutIn(const SharedTensors& shared, std::size_t offset,
           google::protobuf::Map<std::string, inference::InferParameter>& parameters) {
  parameters["shared_memory_region"].set_string_param(shared.name());
  parameters["shared_memory_offset"].set_int64_param(static_cast<std::int64_t>(offset));
  parameters["shared_memory_byte_size"].set_int64_param(
      static_cast<std::int64_t>(shared.tensor_bytes()));
}

// Of one call, of those that share the region if there is one.
std::string MakeRequest(const Settings& settings, const std::vector<float>& values,
                        const std::optional<SharedTensors>& shared, std::size_t call) {
  inference::ModelInferRequest request;
  request.set_model_name(settings.model);
  inference::ModelInferRequest::InferInputTensor& input = *request.add_inputs();
  input.set_name("in0");
  input.set_datatype("FP32");
  input.add_shape(1);
  input.add_shape(static_cast<std::int64_t>(settings.elements));
  if (shared) {
    PutIn(*shared, 0, *input.mutable_parameters());
    inference::ModelInferRequest::InferRequestedOutputTensor& output = *request.add_outputs();
    output.set_name("out0");
    PutIn(*shared, shared->OutputAt(call), *output.mutable_parameters());
  } else {
    request.add_raw_input_contents(values.data(), values.size() * sizeof(float));
  }
  return request.SerializeAsString();
}

// One HTTP/2 connection, by nghttp2, on the caller's thread: what a gRPC library does besides is
// not measured.
class Client {
 public:
  explicit Client(const Settings& settings) {
    const std::size_t calls = settings.loop.concurrency;
    const std::vector<float> values = RandomInput(settings.elements);
    if (settings.loop.shared_memory) shared_.emplace(values, calls);
    for (std::size_t call = 0; call < calls; ++call) {
      calls_.push_back({.message = WithPrefix(MakeRequest(settings, values, shared_, call))});
    }
  }
  ~Client() {
    nghttp2_session_del(session_);
    if (socket_ >= 0) close(socket_);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Status Connect(const std::string& address) {
    const std::size_t colon = address.rfind(':');
    const std::string host = address.substr(0, colon);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (colon == std::string::npos ||
        getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found) != 0) {
      return Status(StatusCode::kInvalidArgument, "expected an address, as in 127.0.0.1:8001");
    }
    socket_ = socket(found->ai_family, found->ai_socktype, 0);
    const int connected = connect(socket_, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (connected != 0) return Fault("connect");
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (fcntl(socket_, F_SETFL, O_NONBLOCK) != 0) return Fault("fcntl");

    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnStreamClose);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, SendData);
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &window, 1);
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindow);
    return Status();
  }

  Status RegisterSharedMemory() {
    if (!shared_) return Status();
    inference::SystemSharedMemoryRegisterRequest request;
    request.set_name(shared_->name());
    request.set_key(shared_->key());
    request.set_byte_size(shared_->size_bytes());
    Call call{.message = WithPrefix(request.SerializeAsString())};
    Begin(call, "/inference.GRPCInferenceService/SystemSharedMemoryRegister");
    const Status status = RunUntil([&call] { return !call.is_open; });
    return status.ok() ? failure_ : status;
  }
  Status CheckSharedMemory() const { return shared_ ? shared_->Check() : Status(); }

  Status Drive(ClosedLoop::Clock::time_point deadline, std::vector<Duration>& latencies) {
    deadline_ = deadline;
    latencies_ = &latencies;
    for (Call& call : calls_) Begin(call, kInfer);
    const Status status = RunUntil([this] {
      return std::ranges::none_of(calls_, [](const Call& call) { return call.is_open; });
    });
    latencies_ = nullptr;
    return status.ok() ? failure_ : status;
  }

 private:
  static constexpr const char* kInfer = "/inference.GRPCInferenceService/ModelInfer";
  static constexpr std::int32_t kWindow = 1 << 28;
  static constexpr std::size_t kSmallBytes = std::size_t{64} << 10;
  static constexpr std::size_t kFrame = 9 + 16384;
  static constexpr std::size_t kMostParts = 512;

  struct Call {
    std::string message;
    std::size_t sent = 0;
    bool is_open = false;
    bool succeeded = false;
    ClosedLoop::Clock::time_point begun{};
  };

  static std::string WithPrefix(const std::string& message) {
    std::string text(5, '\0');
    for (std::size_t i = 0; i < 4; ++i)
      text[i + 1] = static_cast<char>(message.size() >> (24 - 8 * i));
    return text + message;
  }
  static Status Fault(const char* what) {
    return Status(StatusCode::kUnavailable, std::string(what) + ": " + std::strerror(errno));
  }

  void Begin(Call& call, std::string_view path) {
    call.sent = 0;
    call.is_open = true;
    call.succeeded = false;
    call.begun = ClosedLoop::Clock::now();
    const auto field = [](std::string_view name, std::string_view value) {
      return nghttp2_nv{reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())),
                        name.size(), value.size(),
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
    };
    const std::array<nghttp2_nv, 6> fields{field(":method", "POST"),
                                           field(":scheme", "http"),
                                           field(":path", path),
                                           field(":authority", "bench"),
                                           field("content-type", "application/grpc"),
                                           field("te", "trailers")};
    nghttp2_data_provider body;
    body.source.ptr = &call;
    body.read_callback = ReadData;
    nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &body, &call);
  }

  void End(Call& call) {
    call.is_open = false;
    if (!call.succeeded && failure_.ok()) {
      failure_ = Status(StatusCode::kUnavailable,
                        message_.empty() ? "a call failed without a status" : message_);
    }
    if (latencies_ == nullptr) return;
    const ClosedLoop::Clock::time_point now = ClosedLoop::Clock::now();
    if (now >= deadline_ || !failure_.ok()) return;
    latencies_->push_back(now - call.begun);
    Begin(call, kInfer);
  }

  template <typename Done>
  Status RunUntil(Done done) {
    while (!done()) {
      const Status written = Write();
      if (!written.ok()) return written;
      pollfd ready{socket_, static_cast<short>(output_.empty() ? POLLIN : POLLIN | POLLOUT), 0};
      if (poll(&ready, 1, -1) < 0) return Fault("poll");
      if ((ready.revents & ~POLLOUT) == 0) continue;
      const ssize_t bytes = recv(socket_, input_.data(), input_.size(), 0);
      if (bytes == 0) return Status(StatusCode::kUnavailable, "the server closed the connection");
      if (bytes < 0 && errno != EAGAIN) return Fault("recv");
      if (bytes > 0 &&
          nghttp2_session_mem_recv(session_, input_.data(), static_cast<std::size_t>(bytes)) < 0) {
        return Status(StatusCode::kInternal, "the server broke HTTP/2");
      }
    }
    return Write();
  }

  // As much as the socket takes.
  Status Write() {
    while (true) {
      if (output_.empty()) {
        small_size_ = 0;
        while (HasRoom()) {
          const std::uint8_t* data = nullptr;
          const ssize_t bytes = nghttp2_session_mem_send(session_, &data);
          if (bytes <= 0) break;
          Put(data, static_cast<std::size_t>(bytes));
        }
        if (output_.empty()) return Status();
      }
      ssize_t written = writev(socket_, output_.data(), static_cast<int>(output_.size()));
      if (written < 0) return errno == EAGAIN ? Status() : Fault("writev");
      std::size_t whole = 0;
      while (whole < output_.size() && written >= static_cast<ssize_t>(output_[whole].iov_len)) {
        written -= static_cast<ssize_t>(output_[whole++].iov_len);
      }
      output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(whole));
      if (written > 0) {
        output_.front().iov_base = static_cast<char*>(output_.front().iov_base) + written;
        output_.front().iov_len -= static_cast<std::size_t>(written);
      }
    }
  }

  bool HasRoom() const {
    return small_size_ + 2 * kFrame <= kSmallBytes && output_.size() < kMostParts;
  }
  void Put(const std::uint8_t* data, std::size_t size) {
    std::memcpy(small_.data() + small_size_, data, size);
    output_.push_back({small_.data() + small_size_, size});
    small_size_ += size;
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame,
                      const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                      std::size_t value_size, std::uint8_t, void* self) {
    const std::string_view field(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    auto* const call =
        static_cast<Call*>(nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
    if (field == "grpc-status") call->succeeded = text == "0";
    if (field == "grpc-message") static_cast<Client*>(self)->message_ = text;
    return 0;
  }
  static int OnStreamClose(nghttp2_session* session, std::int32_t stream, std::uint32_t,
                           void* self) {
    static_cast<Client*>(self)->End(
        *static_cast<Call*>(nghttp2_session_get_stream_user_data(session, stream)));
    return 0;
  }
  static ssize_t ReadData(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t most,
                          std::uint32_t* flags, nghttp2_data_source* source, void*) {
    const auto& call = *static_cast<const Call*>(source->ptr);
    const std::size_t left = call.message.size() - call.sent;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left <= most) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(std::min(left, most));
  }
  static int SendData(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head, std::size_t size,
                      nghttp2_data_source* source, void* self) {
    Client& client = *static_cast<Client*>(self);
    if (!client.HasRoom()) return NGHTTP2_ERR_WOULDBLOCK;
    auto& call = *static_cast<Call*>(source->ptr);
    client.Put(head, 9);
    client.output_.push_back({call.message.data() + call.sent, size});
    call.sent += size;
    return 0;
  }

  std::vector<Call> calls_;
  std::optional<SharedTensors> shared_;
  int socket_ = -1;
  nghttp2_session* session_ = nullptr;
  std::vector<std::uint8_t> input_ = std::vector<std::uint8_t>(std::size_t{256} << 10);
  std::vector<std::uint8_t> small_ = std::vector<std::uint8_t>(kSmallBytes);  // heads of frames
  std::size_t small_size_ = 0;
  std::vector<iovec> output_;
  ClosedLoop::Clock::time_point deadline_{};
  std::vector<Duration>* latencies_ = nullptr;
  Status failure_;
  std::string message_;  // of the last call that failed
};

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Closed-loop benchmark client of an inference server over gRPC.");
  app.add_option("--address", settings.address, "Server (127.0.0.1:8001)");
  app.add_option("--model", settings.model, "Takes one row of FP32 numbers (copy)");
  app.add_option("--elements", settings.elements, "Numbers per request (16)")
      ->check(CLI::PositiveNumber);
  AddClosedLoop(app, settings.loop);
  app.footer("Example:\n  grpc_client --model copy --elements 150528 --concurrency 4");
  CLI11_PARSE(app, argc, argv);
  Client client(settings);
  const auto fail = [](const Status& status) {
    std::cerr << status.message() << '\n';
    return 1;
  };
  if (const Status status = client.Connect(settings.address); !status.ok()) return fail(status);
  if (const Status status = client.RegisterSharedMemory(); !status.ok()) return fail(status);
  const int exit_status = RunClosedLoop(
      settings.loop,
      {{"address", settings.address},
       {"model", settings.model},
       {"tensor_bytes", settings.elements * sizeof(float)},
       {"format", settings.loop.shared_memory ? "shared memory" : "raw"}},
      [&client](ClosedLoop::Clock::time_point deadline, std::vector<Duration>& latencies) {
        return client.Drive(deadline, latencies);
      });
  if (exit_status != 0) return exit_status;
  const Status status = client.CheckSharedMemory();
  return status.ok() ? 0 : fail(status);
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) { return duly::Main(argc, argv); }
