// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace duly {

struct TestReply {
  int code = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

// A blocking connection to a port of this machine that shows bytes as they are. Whatever takes
// longer than ten seconds fails.
class TestClient {
 public:
  enum class Body : std::uint8_t { kPresent, kAbsent };

  explicit TestClient(std::uint16_t port);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  // False when the server has closed the connection.
  bool Send(std::string_view bytes);
  // What was sent has reached the server's socket.
  bool IsAcknowledged() const;
  // Closes the sending side only.
  void FinishSending();
  // Closes the connection; with a reset, so that unsent bytes are lost too.
  void Reset();
  // The next answer; code 0 when the connection ended instead. kAbsent: it answers a HEAD.
  TestReply Read(Body body = Body::kPresent);
  // True when the server closes without sending anything more.
  bool ReadsEnd();

  TestReply Call(std::string_view bytes) {
    Send(bytes);
    return Read();
  }

 private:
  bool Receive();

  int socket_ = -1;
  std::string received_;
};

std::string GetRequest(std::string_view target);
// headers: lines with their ends.
std::string PostRequest(std::string_view target, std::string_view body,
                        std::string_view headers = "");

}  // namespace duly
