// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/infer.h"
#include "server/access.h"
#include "server/client_connections.h"
#include "server/http_body.h"
#include "server/http_head.h"
#include "server/http_message.h"
#include "server/http_routes.h"
#include "server/http_server.h"
#include "server/infer_json.h"
#include "server/io_connection.h"
#include "server/memory_budget.h"
#include "server/transport.h"
#include "server/work_thread.h"

namespace duly {

// What all connections of a server share. Outlives them.
struct HttpShared {
  HttpShared(HttpOptions o, ModelService& service)
      : options(std::move(o)), routes(service, [this] { return Counts(); }) {}

  LimitCounts Counts() const {
    LimitCounts counts;
    counts.tokens = options.access.Counts();
    if (options.clients != nullptr) counts.connections = options.clients->refused();
    return counts;
  }

  const HttpOptions options;
  HttpRoutes routes;
  InferDecoder parse_decoder;  // the parse thread's
  // Reads and writes JSON that takes milliseconds, so that other connections' requests do not wait.
  WorkThread parse_thread{"duly-parse"};
  std::atomic<bool> leaving{false};  // answers ask clients to close
  std::atomic<std::uint32_t> connections{0};
};

// One connection: reads a request, has it answered, writes the answer, and so on. While a request
// is in the node the connection goes on reading, so that it notices a client that left and finds
// the next request already there.
//
// A client that closes only its sending side gets its answers. Whether it closed both sides shows
// when bytes are sent to it: its system resets the connection. So the first bytes of the answer,
// the same whatever the answer will be, are sent at once, and a reset cancels the request.
//
// Bodies of known length are read straight into the memory that the tensors stay in; answers are
// written with one gathering call, at once if the socket takes them.
//
// Threading: on its I/O thread, OnResponse excepted.
class HttpConnection final : public IoConnection,
                             public ResponseSink,
                             public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(TcpSocket socket, IoThread& thread, HttpShared& shared, HttpPort port,
                 ClientConnections::Lease lease);
  ~HttpConnection() override;

  void Start() override;
  void Tick(IoThread::Time now) override;
  void CloseWhenIdle() override;
  void Abort() override;

  void OnResponse(InferResponse response) override;

 private:
  enum class Phase : std::uint8_t {
    kHead,       // waits for a complete head
    kBody,       // reads a body of known length
    kChunks,     // reads a body in chunks
    kExecuting,  // the request is in the node or with the parse thread
    kWriting,    // the socket has not taken the whole answer yet
    kLinger,     // everything was written; waits for the client to close
    kClosed,
  };
  enum class ReadInto : std::uint8_t { kInput, kBody };

  // Does what can be done with the bytes that are there; returns when it needs an event.
  void Advance();
  bool AdvanceHead();
  bool AdvanceBody();
  bool AdvanceChunks();
  void StartRead();
  void OnRead(const boost::system::error_code& error, std::size_t bytes);
  void OnPeerFinished();
  void WatchForReset();

  void BeginRequest();
  void Dispatch();
  void DispatchPlain();
  void DispatchInfer();
  void Submit(Result<InferCall> call);
  bool tracing() const { return shared_.routes.service().tracing(); }
  TimePoint Now() const { return shared_.routes.node().Now(); }
  void OnAnswered(InferResponse response);
  void Refuse(const HttpFault& fault);
  void Reply(HttpReply reply);
  ContentCoding CodingFor(const HttpReply& reply) const;
  void Send(HttpReply reply);
  void WriteSome();
  void OnWritten();

  // Calls work() on the parse thread, which may read what belongs to the request: the connection
  // leaves that alone meanwhile. Then calls then(its result) here, unless the connection is closed.
  template <typename Work, typename Then>
  void On(WorkThread& thread, Work work, Then then);

  void Close();
  void Leave();
  void LimitTime(Duration limit);
  bool GrowInput();
  std::string_view input() const {
    return {input_.get() + input_begin_, input_end_ - input_begin_};
  }

  Transport transport_;
  IoThread& thread_;
  HttpShared& shared_;
  const HttpPort port_;
  const ClientConnections::Lease lease_;

  Phase phase_ = Phase::kHead;
  bool reading_ = false;
  ReadInto read_into_ = ReadInto::kInput;
  bool peer_finished_ = false;  // it sends no more bytes; it may still read
  bool watching_ = false;       // for the connection to break
  bool close_after_ = false;    // the answer in progress ends the connection
  bool in_node_ = false;        // the node has the request
  bool in_submit_ = false;      // it is being given to the node
  bool parsing_ = false;        // the parse thread has the request or the answer
  bool has_deadline_ = false;
  IoThread::Time deadline_;

  // Bytes read and not yet consumed: heads, chunks, small bodies, the beginnings of large ones.
  std::unique_ptr<char[]> input_;
  std::size_t input_capacity_ = 0;
  std::size_t input_begin_ = 0;
  std::size_t input_end_ = 0;

  // The request in progress.
  HeadScanner scanner_;
  HttpHead head_;
  HttpRoute route_;
  std::optional<HttpFault> refusal_;  // known since the head, told after the body
  HttpBody body_;
  std::unique_ptr<ChunkDecoder> chunks_;
  InferReplyFormat format_;
  RequestId request_;
  Permit permit_;
  std::optional<InferResponse> response_;  // that came before Submit returned
  // While requests may be traced; TimePoint(): before it was so.
  TimePoint received_first_{};
  TimePoint received_last_{};
  TraceHandle trace_;

  // The answer in progress.
  std::string head_text_;
  HttpReply reply_;
  std::vector<boost::asio::const_buffer> output_;
  std::size_t output_next_ = 0;
  std::size_t sent_ahead_ = 0;  // bytes of its head that are on the wire already
};

}  // namespace duly
