// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace duly {

// A message as gRPC sends it: its flags and length before it.
std::string GrpcFrame(std::string_view message, char flags = 0);

// A blocking HTTP/2 connection to a port of this machine, for calls as they should be and others.
// Whatever takes longer than ten seconds fails.
class GrpcTestClient {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;

  struct Answer {
    std::map<std::string, std::string> fields;  // of header and trailer
    std::string body;
    bool closed = false;
    std::uint32_t error = 0;  // of HTTP/2, with which the stream was closed

    std::optional<StatusCode> status() const;
    std::string message() const;  // grpc-message as it is on the wire
    // The messages of the body.
    std::vector<std::string> messages() const;
  };

  // window: bytes that each call takes before it is Read.
  explicit GrpcTestClient(std::uint16_t port, std::int32_t window = 1 << 24);
  ~GrpcTestClient();
  GrpcTestClient(const GrpcTestClient&) = delete;
  GrpcTestClient& operator=(const GrpcTestClient&) = delete;

  // Begins a call with these bytes; others may follow. Fields replace the usual ones of the same
  // name, those of an empty value are left out. Returns its stream.
  std::int32_t Begin(std::string_view path, std::string_view bytes = "", Fields fields = {});
  void Send(std::int32_t stream, std::string_view bytes);
  // The call's last bytes.
  void Finish(std::int32_t stream);
  void Cancel(std::int32_t stream);
  // Any bytes, behind what was sent before.
  void SendRaw(std::string_view bytes);

  // The call's answer, once the stream is closed, or the connection.
  const Answer& Await(std::int32_t stream);
  // What has come of it, once that is so many messages, or its end.
  const Answer& AwaitMessages(std::int32_t stream, std::size_t count);
  // A whole call.
  Answer Call(std::string_view path, std::string_view bytes, Fields fields = {});
  // Reads until the server closes; false after ten seconds.
  bool AwaitEnd();
  // The server has said that it takes no more calls.
  bool told_to_go() const { return told_to_go_; }

 private:
  struct Callbacks;
  struct Stream {
    Answer answer;
    std::string unsent;
    bool finished = false;
  };

  void Write();
  // False when the connection has ended, or nothing came.
  bool Read();

  int socket_ = -1;
  bool ended_ = false;
  bool told_to_go_ = false;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, Stream> streams_;
};

}  // namespace duly
