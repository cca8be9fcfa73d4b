// SPDX-License-Identifier: Apache-2.0
//
// A connection to the gRPC server, from the bytes behind HTTP/2's preface on, against a node that
// copies. Whatever comes, the server closes when the client has said all, and serves others.
#include <arpa/inet.h>
#include <google/protobuf/stubs/logging.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/check.h"
#include "server/fake_node_test_util.h"
#include "server/grpc_server.h"

namespace duly {
namespace {

constexpr std::string_view kPreface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);

struct World {
  World() {
    GrpcOptions options;
    options.port = 0;
    options.threads = 1;
    options.message_bytes = std::size_t{1} << 20;
    options.memory = std::make_shared<MemoryBudget>(std::size_t{4} << 20);
    options.linger = std::chrono::milliseconds(20);
    server = *GrpcServer::Start(options, service);
    server->SetServing(true);
  }

  FakeNode node{TestModels()};
  ModelService service{node};
  std::unique_ptr<GrpcServer> server;
};

void Connect(std::uint16_t port, std::string_view input, std::size_t piece) {
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  const timeval limit{10, 0};
  ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  DULY_CHECK(::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  const auto send = [client](std::string_view bytes) {
    return ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0;
  };
  // The server may have closed already.
  bool open = send(kPreface);
  while (open && !input.empty()) {
    open = send(input.substr(0, piece));
    input.remove_prefix(std::min(piece, input.size()));
  }
  ::shutdown(client, SHUT_WR);
  std::array<char, 65536> answer{};
  ssize_t received = 0;
  do {
    received = ::recv(client, answer.data(), answer.size(), 0);
  } while (received > 0 || (received < 0 && errno == EINTR));
  DULY_CHECK(received == 0 || errno == ECONNRESET);
  const linger at_once{1, 0};  // else ports run out
  ::setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  ::close(client);
}

}  // namespace
}  // namespace duly

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static duly::World& world = *new duly::World;
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // The first byte says in which pieces the others arrive; most do so at once.
  const std::size_t piece = data[0] < 'a' ? std::size_t{1} << 20 : 1 + 16 * (data[0] % 16U);
  duly::Connect(world.server->port(), input.substr(1), piece);
  return 0;
}
