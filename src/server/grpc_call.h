// SPDX-License-Identifier: Apache-2.0
//
// A gRPC call on the server's side, whatever its method: messages come, messages and a status go.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "server/access.h"
#include "server/grpc_message.h"
#include "server/http_body.h"
#include "server/io_thread.h"
#include "telemetry/trace.h"

namespace duly {

class GrpcConnection;
struct GrpcShared;

// What the client's headers say.
struct GrpcHead {
  std::string path;  // "/inference.GRPCInferenceService/ModelInfer"
  std::string authorization;
  GrpcCoding coding = GrpcCoding::kIdentity;  // of messages that say that they are compressed
  bool wants_real_codes = false;              // triton_grpc_error: failures end the stream
  std::optional<IoThread::Time> deadline;
  Permit permit;  // of the whole call
};

// Methods derive their calls from this.
//
// Threading: everything on the connection's thread, but for Later() and Soon(). No method is called
// after OnCancelled, or after the call's status was sent.
class GrpcCall : public std::enable_shared_from_this<GrpcCall> {
 public:
  GrpcCall(std::shared_ptr<GrpcConnection> connection, GrpcHead head);
  virtual ~GrpcCall();
  GrpcCall(const GrpcCall&) = delete;
  GrpcCall& operator=(const GrpcCall&) = delete;

 protected:
  // The call has one message, which has to come soon; nothing behind it is looked at.
  void NeedOneMessage() { needs_one_ = true; }

  // A whole message has come; not while reading is paused.
  virtual void OnMessage(GrpcInput message) = 0;
  // The client sends no more messages; not of a call that needs one.
  virtual void OnLastMessage() {}
  // Nothing can be sent any more: the client left, or its deadline has passed.
  virtual void OnCancelled() {}
  // The server ends; what has been received is still answered.
  virtual void OnDrain() {}

  GrpcShared& shared() const { return shared_; }
  const GrpcHead& head() const { return head_; }
  // The call's end is not known yet.
  bool is_open() const { return !finished_ && !cancelled_; }
  // Until the deadline; nothing when there is none.
  std::optional<Duration> TimeLeft() const;
  // Messages that wait for the client to read them.
  std::size_t unsent() const { return outgoing_.size(); }

  // The trace is told when the message is on the wire. Both do nothing once the call has ended.
  void Send(GrpcOutput message, TraceHandle trace = nullptr);
  // The last thing sent. retry_after: for failures that are retryable.
  void Finish(const Status& status, Duration retry_after = Duration(0));

  void PauseReading(bool pause);

  // Announces that Later will be called once, from any thread; the connection's thread lasts until
  // then.
  void ExpectLater();
  // Runs `work` on the connection's thread, even when the call has ended.
  void Later(std::function<void()> work);
  // The same without an announcement, from any thread, while the call is open.
  void Soon(std::function<void()> work);

 private:
  friend class GrpcConnection;

  struct Outgoing {
    std::array<std::byte, 5> prefix;  // flags and length
    std::size_t size = 0;             // with its prefix
    std::size_t sent = 0;             // of it
    GrpcOutput pieces;
    TraceHandle trace;
  };

  // Takes bytes of messages; returns how many more the client may send for them.
  std::size_t Receive(std::span<const std::byte> bytes);
  // The same of those that are wanted now.
  std::size_t Take(std::span<const std::byte> bytes);
  // For later; false when there is no memory.
  bool Keep(std::span<const std::byte> bytes);
  Status BeginMessage();
  void Deliver(GrpcInput message);
  void EndInput();
  // What was not wanted before.
  void ContinueReading();
  // The stream is gone.
  void Cancel();
  // Ends the call before its method does.
  void Expire(const Status& status);
  bool reads() const;
  // Nothing more is wanted.
  bool has_all() const { return needs_one_ && has_message_; }
  // The client owes bytes.
  bool awaits_bytes() const {
    return is_open() && !input_ended_ && waiting_.size() == 0 &&
           (prefix_size_ > 0 || (needs_one_ && !has_message_));
  }

  // Answers that nobody reads stop the reading of requests.
  static constexpr std::size_t kMaxUnsentBytes = std::size_t{4} << 20;

  const std::shared_ptr<GrpcConnection> connection_;
  GrpcShared& shared_;
  GrpcHead head_;
  std::int32_t stream_ = 0;

  // Receiving.
  bool needs_one_ = false;
  bool paused_ = false;
  bool inflating_ = false;  // a message, on its way to the method
  bool input_ended_ = false;
  bool told_end_ = false;
  bool has_message_ = false;  // has had one
  bool in_message_ = false;   // the prefix is whole
  std::array<std::byte, 5> prefix_{};
  std::size_t prefix_size_ = 0;
  Buffer message_;
  std::span<std::byte> unfilled_;
  HttpBody waiting_;  // came while reading was paused
  IoThread::Time last_bytes_{};

  // Sending.
  bool has_head_ = false;  // the answer's
  bool deferred_ = false;  // nghttp2 waits to be told of more
  bool finished_ = false;
  bool cancelled_ = false;
  Status status_;
  Duration retry_after_{0};
  std::deque<Outgoing> outgoing_;
  std::size_t unsent_bytes_ = 0;
};

}  // namespace duly
