// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_client_test_util.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace duly {

std::string GrpcFrame(std::string_view message, char flags) {
  std::string frame(1, flags);
  for (int shift = 24; shift >= 0; shift -= 8) {
    frame += static_cast<char>(message.size() >> shift & 0xFF);
  }
  return frame.append(message);
}

std::optional<StatusCode> GrpcTestClient::Answer::status() const {
  const auto found = fields.find("grpc-status");
  if (found == fields.end()) return std::nullopt;
  return static_cast<StatusCode>(std::atoi(found->second.c_str()));
}

std::string GrpcTestClient::Answer::message() const {
  const auto found = fields.find("grpc-message");
  return found == fields.end() ? std::string() : found->second;
}

std::vector<std::string> GrpcTestClient::Answer::messages() const {
  std::vector<std::string> all;
  for (std::size_t at = 0; at + 5 <= body.size();) {
    std::size_t size = 0;
    for (std::size_t i = 1; i < 5; ++i) size = size << 8 | static_cast<unsigned char>(body[at + i]);
    if (at + 5 + size > body.size()) break;
    all.push_back(body.substr(at + 5, size));
    at += 5 + size;
  }
  return all;
}

struct GrpcTestClient::Callbacks {
  static GrpcTestClient& Of(void* self) { return *static_cast<GrpcTestClient*>(self); }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                      std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                      std::uint8_t, void* self) {
    Of(self).streams_[frame->hd.stream_id].answer.fields.emplace(
        std::string(reinterpret_cast<const char*>(name), name_size),
        std::string(reinterpret_cast<const char*>(value), value_size));
    return 0;
  }
  static int OnData(nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data,
                    std::size_t size, void* self) {
    Of(self).streams_[stream].answer.body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int OnClose(nghttp2_session*, std::int32_t stream, std::uint32_t error, void* self) {
    Answer& answer = Of(self).streams_[stream].answer;
    answer.closed = true;
    answer.error = error;
    return 0;
  }
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    if (frame->hd.type == NGHTTP2_GOAWAY) Of(self).told_to_go_ = true;
    return 0;
  }
  static ssize_t ReadData(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t most,
                          std::uint32_t* flags, nghttp2_data_source* source, void*) {
    auto& stream = *static_cast<Stream*>(source->ptr);
    const std::size_t size = std::min(most, stream.unsent.size());
    std::memcpy(to, stream.unsent.data(), size);
    stream.unsent.erase(0, size);
    if (stream.unsent.empty() && stream.finished) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (size == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(size);
  }
};

GrpcTestClient::GrpcTestClient(std::uint16_t port, std::int32_t window)
    : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  DULY_CHECK(socket_ >= 0);
  const timeval limit{10, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  DULY_CHECK(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  nghttp2_session_callbacks* callbacks = nullptr;
  DULY_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::OnClose);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::OnFrame);
  DULY_CHECK(nghttp2_session_client_new(&session_, callbacks, this) == 0);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry setting{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                       static_cast<std::uint32_t>(window)};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &setting, 1);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, 1 << 30);
}

GrpcTestClient::~GrpcTestClient() {
  nghttp2_session_del(session_);
  ::close(socket_);
}

std::int32_t GrpcTestClient::Begin(std::string_view path, std::string_view bytes, Fields fields) {
  Fields all{{":method", "POST"},
             {":scheme", "http"},
             {":path", std::string(path)},
             {":authority", "test"},
             {"content-type", "application/grpc"},
             {"te", "trailers"}};
  for (auto& [name, value] : fields) {
    const auto usual = std::ranges::find(all, name, &Fields::value_type::first);
    if (usual != all.end()) {
      usual->second = value;
    } else {
      all.emplace_back(name, value);
    }
  }
  std::vector<nghttp2_nv> list;
  for (auto& [name, value] : all) {
    if (value.empty()) continue;
    list.push_back({reinterpret_cast<std::uint8_t*>(name.data()),
                    reinterpret_cast<std::uint8_t*>(value.data()), name.size(), value.size(),
                    NGHTTP2_NV_FLAG_NONE});
  }
  const auto id = static_cast<std::int32_t>(nghttp2_session_get_next_stream_id(session_));
  Stream& stream = streams_[id];
  stream.unsent = bytes;
  nghttp2_data_provider body;
  body.source.ptr = &stream;
  body.read_callback = Callbacks::ReadData;
  DULY_CHECK(nghttp2_submit_request(session_, nullptr, list.data(), list.size(), &body, nullptr) ==
             id);
  Write();
  return id;
}

void GrpcTestClient::Send(std::int32_t stream, std::string_view bytes) {
  streams_[stream].unsent += bytes;
  nghttp2_session_resume_data(session_, stream);
  Write();
}

void GrpcTestClient::Finish(std::int32_t stream) {
  streams_[stream].finished = true;
  nghttp2_session_resume_data(session_, stream);
  Write();
}

void GrpcTestClient::Cancel(std::int32_t stream) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
  Write();
}

void GrpcTestClient::SendRaw(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void GrpcTestClient::Write() {
  const std::uint8_t* data = nullptr;
  for (ssize_t size = 0; (size = nghttp2_session_mem_send(session_, &data)) > 0;) {
    SendRaw({reinterpret_cast<const char*>(data), static_cast<std::size_t>(size)});
  }
}

bool GrpcTestClient::Read() {
  if (ended_) return false;
  std::array<std::uint8_t, 65536> bytes{};
  const ssize_t received = ::recv(socket_, bytes.data(), bytes.size(), 0);
  ended_ = received <= 0 ||
           nghttp2_session_mem_recv(session_, bytes.data(), static_cast<std::size_t>(received)) < 0;
  if (!ended_) Write();
  return !ended_;
}

const GrpcTestClient::Answer& GrpcTestClient::Await(std::int32_t stream) {
  const Answer& answer = streams_[stream].answer;
  while (!answer.closed && Read()) {
  }
  return answer;
}

const GrpcTestClient::Answer& GrpcTestClient::AwaitMessages(std::int32_t stream,
                                                            std::size_t count) {
  const Answer& answer = streams_[stream].answer;
  while (!answer.closed && answer.messages().size() < count && Read()) {
  }
  return answer;
}

GrpcTestClient::Answer GrpcTestClient::Call(std::string_view path, std::string_view bytes,
                                            Fields fields) {
  const std::int32_t stream = Begin(path, bytes, std::move(fields));
  Finish(stream);
  return Await(stream);
}

bool GrpcTestClient::AwaitEnd() {
  while (Read()) {
  }
  char byte = 0;
  return ::recv(socket_, &byte, 1, MSG_DONTWAIT) == 0;
}

}  // namespace duly
