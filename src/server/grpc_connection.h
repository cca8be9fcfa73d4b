// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nghttp2/nghttp2.h>

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "server/client_connections.h"
#include "server/grpc_call.h"
#include "server/grpc_health.h"
#include "server/grpc_server.h"
#include "server/io_connection.h"
#include "server/memory_budget.h"
#include "server/transport.h"
#include "server/work_thread.h"

namespace duly {

// A method: who may call it, and what a call of it is.
struct GrpcMethod {
  Scope scope = Scope::kNone;
  // Each message counts against its token's limits, and not the call.
  bool admits_messages = false;
  std::function<std::shared_ptr<GrpcCall>(std::shared_ptr<GrpcConnection>, GrpcHead)> make;
};

// What all connections of a server share. Outlives them.
struct GrpcShared {
  GrpcShared(GrpcOptions o, ModelService& service) : options(std::move(o)), models(service) {}

  const GrpcOptions options;
  ModelService& models;
  GrpcHealth health;
  std::unordered_map<std::string, GrpcMethod> methods;  // by path; complete before the first call
  std::atomic<std::uint32_t> connections{0};
  // Decompresses messages, so that other connections do not wait.
  WorkThread inflate_thread{"duly-inflate"};
};

// An HTTP/2 connection (RFC 9113, by nghttp2) that carries gRPC calls.
//
// Messages are collected in memory that counts against the budget; their bytes are granted again to
// the client as soon as they are there, but for those behind a message that its call does not want
// yet. Answers are written with gathering calls, and large tensors are not copied for that.
//
// Threading: on its I/O thread, but for what says otherwise.
class GrpcConnection final : public IoConnection,
                             public std::enable_shared_from_this<GrpcConnection> {
 public:
  GrpcConnection(TcpSocket socket, IoThread& thread, GrpcShared& shared,
                 ClientConnections::Lease lease);
  ~GrpcConnection() override;

  void Start() override;
  void Tick(IoThread::Time now) override;
  void CloseWhenIdle() override;
  void Abort() override;

  GrpcShared& shared() { return shared_; }
  IoThread& thread() { return thread_; }

  // Something to do on the connection's thread.
  struct Work {
    std::shared_ptr<GrpcCall> call;  // lives until then
    std::function<void()> run;
    bool is_expected = false;  // it was announced by Expect: the connection is not gone before
  };
  // From any thread; what was not expected, as long as the connection is open.
  void Post(Work work);
  void Expect() { ++expected_; }

  // Bytes of answers that wait to be sent, of all calls: beyond a bound nobody reads more.
  void CountUnsent(std::size_t bytes) { unsent_bytes_ += bytes; }
  void CountSent(std::size_t bytes);
  bool is_full() const { return unsent_bytes_ >= kMaxUnsentBytes; }

  // A call has something to send.
  void Resume(GrpcCall& call);
  // A call may want messages again.
  void Continue(std::shared_ptr<GrpcCall> call);
  // The client may send so many bytes more.
  void Grant(std::int32_t stream, std::size_t bytes);

 private:
  static constexpr std::size_t kMaxUnsentBytes = std::size_t{64} << 20;

  struct Callbacks;  // nghttp2's

  void Wait();
  void OnReadable();
  // Makes the session; false when there is no memory.
  bool StartSession();
  // Does what was posted, and writes what there is to write.
  void EndTurn();
  // False when there was nothing.
  bool RunPosted();
  void Flush();
  // Moves what nghttp2 has to send into the output; false when there is nothing.
  bool FillOutput();
  bool HasRoom() const;
  void PutBytes(std::span<const std::byte> bytes);
  // The next bytes of the call's messages.
  void PutMessages(GrpcCall& call, std::size_t bytes);
  void OnFlushed();

  // nghttp2's events.
  void BeginHead();
  void AddField(std::string_view name, std::string_view value);
  void OnHead(std::int32_t stream, bool is_last);
  void OnData(std::int32_t stream, std::span<const std::byte> bytes);
  void OnInputEnd(std::int32_t stream);
  void OnStreamClosed(std::int32_t stream);
  // Nothing when there are none now.
  std::optional<std::size_t> NextData(GrpcCall& call, std::size_t most, std::uint32_t& flags);

  // Finds the method of a call that may be made.
  Status Open(const GrpcMethod*& method, Duration& retry_after);
  // The status instead of an answer.
  void SubmitStatus(std::int32_t stream, const Status& status, Duration retry_after,
                    bool is_trailer);
  // For what is no gRPC call.
  void SubmitHttpError(std::int32_t stream, std::string_view code);

  void AnnounceEnd();
  void GoAway();
  void CheckCalls(IoThread::Time now);
  void Linger();
  void Close();

  Transport transport_;
  IoThread& thread_;
  GrpcShared& shared_;
  const ClientConnections::Lease lease_;

  nghttp2_session* session_ = nullptr;  // made with the first bytes: idle connections cost little
  bool closed_ = false;
  bool left_ = false;  // its thread
  bool in_turn_ = false;
  bool ending_turn_ = false;
  bool waiting_to_write_ = false;
  bool lingering_ = false;  // has said all
  bool draining_ = false;
  bool going_away_ = false;  // the last GOAWAY is out
  bool pinged_ = false;
  std::size_t expected_ = 0;
  IoThread::Time last_received_{};
  IoThread::Time last_call_{};  // when there was one
  std::optional<IoThread::Time> write_deadline_;
  std::optional<IoThread::Time> drain_deadline_;

  // The head that is being received: those of different streams do not mix.
  GrpcHead head_;
  struct HeadFields {
    std::size_t bytes = 0;
    std::size_t authorizations = 0;
    bool is_post = false;
    bool is_grpc = false;
    std::optional<Status> fault;
  } fields_;

  std::unordered_map<std::int32_t, std::shared_ptr<GrpcCall>> calls_;
  std::vector<std::shared_ptr<GrpcCall>> continued_;
  std::size_t unsent_bytes_ = 0;

  // What is on its way to the socket.
  std::unique_ptr<std::byte[]> small_;  // headers and small pieces
  std::size_t small_size_ = 0;
  std::vector<boost::asio::const_buffer> output_;
  std::size_t output_next_ = 0;
  std::size_t output_bytes_ = 0;
  std::vector<Buffer> held_;          // what output_ refers to
  std::vector<TraceHandle> on_wire_;  // with the output

  Mutex mutex_;
  std::vector<Work> posted_ DULY_GUARDED_BY(mutex_);
  bool scheduled_ DULY_GUARDED_BY(mutex_) = false;
};

}  // namespace duly
