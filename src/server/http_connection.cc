// SPDX-License-Identifier: Apache-2.0
#include "server/http_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <span>
#include <utility>

#include "server/http_inflate.h"
#include "server/json_text.h"
#include "server/outcome_codes.h"

namespace duly {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kInputBytes = std::size_t{8} << 10;
constexpr std::size_t kFirstChunkedBytes = std::size_t{64} << 10;
// JSON beyond these goes to the parse thread: about half a millisecond of work.
constexpr std::size_t kLargeJsonBytes = std::size_t{256} << 10;
constexpr std::size_t kLargeJsonData = std::size_t{64} << 10;
// Answers that one packet can hold, behind their header, gain nothing by being smaller.
constexpr std::size_t kSmallestCompressed = 1400;

// How every answer begins.
constexpr std::string_view kProtocol = "HTTP/1.1 ";

// Or work like it.
bool IsLargeJson(const InferReplyFormat& format, const InferResponse& response) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < response.outputs.size(); ++i) {
    const bool binary = i < format.binary.size() && format.binary[i];
    if (format.ClassCount(i) > 0 || (!binary && !format.InSharedMemory(i))) {
      bytes += response.outputs[i].data.size();
    }
  }
  return bytes > kLargeJsonData;
}

std::size_t SizeOf(const HttpReply& reply) {
  std::size_t bytes = reply.body.size();
  for (const std::span<const std::byte>& part : reply.binary) bytes += part.size();
  return bytes;
}

HttpReply FaultReply(const HttpFault& fault) {
  HttpReply reply;
  reply.code = fault.code;
  reply.body = ErrorJson(fault.message);
  if (fault.code == 429 || fault.code == 503) reply.retry_after_s = fault.retry_after_s;
  return reply;
}

}  // namespace

HttpConnection::HttpConnection(TcpSocket socket, IoThread& thread, HttpShared& shared,
                               HttpPort port, ClientConnections::Lease lease)
    : transport_(std::move(socket), shared.options.tls.get(), TlsProtocol::kHttp1),
      thread_(thread),
      shared_(shared),
      port_(port),
      lease_(std::move(lease)),
      input_(std::make_unique_for_overwrite<char[]>(kInputBytes)),
      input_capacity_(kInputBytes),
      scanner_(shared.options.limits) {
  shared_.connections.fetch_add(1, std::memory_order_relaxed);
}

HttpConnection::~HttpConnection() { shared_.connections.fetch_sub(1, std::memory_order_relaxed); }

void HttpConnection::Start() {
  boost::system::error_code ignored;  // the connection works without, and a dead one shows itself
  transport_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  transport_.socket().non_blocking(true, ignored);
  LimitTime(shared_.options.idle_timeout);
  Advance();
}

void HttpConnection::LimitTime(Duration limit) {
  // now() may be one tick old: nobody's time is cut short.
  deadline_ = thread_.now() + thread_.tick() + limit;
  has_deadline_ = true;
}

void HttpConnection::Tick(IoThread::Time now) {
  if (!has_deadline_ || now < deadline_) return;
  has_deadline_ = false;
  switch (phase_) {
    case Phase::kHead:
      if (input().empty()) return Close();
      return Refuse({408, "the request's header did not arrive in time"});
    case Phase::kBody:
    case Phase::kChunks:
      return Refuse({408, "the request's body did not arrive in time"});
    case Phase::kWriting:
    case Phase::kLinger:
      return Close();
    case Phase::kExecuting:
    case Phase::kClosed:
      return;
  }
}

void HttpConnection::CloseWhenIdle() {
  close_after_ = true;
  if (phase_ != Phase::kHead || !input().empty()) return;
  // The read under way may have its bytes already, although nobody was told yet: it ends either
  // with them or aborted, and only then is it known that there is nothing to answer.
  // Bytes of TLS need not become a request: those that do not are not awaited for long.
  LimitTime(shared_.options.linger);
  boost::system::error_code ignored;
  transport_.socket().cancel(ignored);
}

void HttpConnection::Abort() { Close(); }

void HttpConnection::Close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  boost::system::error_code ignored;
  transport_.socket().close(ignored);
  // An answer that is under way is awaited: it refers to this connection.
  if (in_node_) return shared_.routes.node().Cancel(request_);
  if (!parsing_) Leave();
}

void HttpConnection::Leave() { thread_.Remove(shared_from_this()); }

void HttpConnection::StartRead() {
  if (reading_ || phase_ == Phase::kClosed) return;
  if (peer_finished_) return OnPeerFinished();
  asio::mutable_buffer target;
  if (phase_ == Phase::kBody) {
    const std::span<std::byte> free = body_.unfilled();
    target = asio::buffer(free.data(), free.size());
    read_into_ = ReadInto::kBody;
  } else {
    if (input_begin_ == input_end_) {
      input_begin_ = input_end_ = 0;
    } else if (input_end_ == input_capacity_ && input_begin_ > 0) {
      std::memmove(input_.get(), input_.get() + input_begin_, input().size());
      input_end_ -= input_begin_;
      input_begin_ = 0;
    }
    // Full while a request is in the node: the next ones wait in the socket.
    if (input_end_ == input_capacity_) return;
    target = asio::buffer(input_.get() + input_end_, input_capacity_ - input_end_);
    read_into_ = ReadInto::kInput;
  }
  reading_ = true;
  transport_.AsyncReadSome(
      target, [self = shared_from_this()](const boost::system::error_code& error,
                                          std::size_t bytes) { self->OnRead(error, bytes); });
}

void HttpConnection::OnRead(const boost::system::error_code& error, std::size_t bytes) {
  reading_ = false;
  if (phase_ == Phase::kClosed) return;
  if (error == asio::error::operation_aborted) {
    if (!transport_.HasUnread()) return Close();
    return StartRead();
  }
  if (error == asio::error::eof) {
    peer_finished_ = true;
    return Advance();
  }
  if (error) return Close();
  if (read_into_ == ReadInto::kBody) {
    body_.Fill(bytes);
  } else if (phase_ == Phase::kLinger) {
    input_begin_ = input_end_ = 0;  // nobody reads it any more
  } else {
    if (phase_ == Phase::kHead && input().empty()) {
      LimitTime(shared_.options.head_timeout);
      if (tracing()) received_first_ = Now();
    }
    input_end_ += bytes;
  }
  if (phase_ == Phase::kBody || phase_ == Phase::kChunks) {
    LimitTime(shared_.options.body_timeout);
  }
  Advance();
}

// What the phase waits for will not come.
void HttpConnection::OnPeerFinished() {
  switch (phase_) {
    case Phase::kHead:
      if (input().empty()) return Close();
      return Refuse({400, "the connection ended within the request's header"});
    case Phase::kBody:
    case Phase::kChunks:
      return Refuse({400, "the connection ended within the request's body"});
    case Phase::kExecuting:
      return WatchForReset();
    case Phase::kWriting:
      return;
    case Phase::kLinger:
    case Phase::kClosed:
      return Close();
  }
}

// While the request is in the node: a client that is gone gets it cancelled.
void HttpConnection::WatchForReset() {
  if (sent_ahead_ == 0) {
    boost::system::error_code error;
    const asio::const_buffer protocol = asio::buffer(kProtocol);
    sent_ahead_ = transport_.WriteSome({&protocol, 1}, error);
    if (error && error != asio::error::would_block) return Close();
  }
  if (std::exchange(watching_, true)) return;
  transport_.socket().async_wait(
      TcpSocket::wait_error, [self = shared_from_this()](const boost::system::error_code& stopped) {
        if (!stopped) self->Close();
      });
}

void HttpConnection::Advance() {
  bool more = true;
  while (more) {
    switch (phase_) {
      case Phase::kHead:
        more = AdvanceHead();
        break;
      case Phase::kBody:
        more = AdvanceBody();
        break;
      case Phase::kChunks:
        more = AdvanceChunks();
        break;
      case Phase::kExecuting:
      case Phase::kLinger:
        StartRead();
        return;
      case Phase::kWriting:
      case Phase::kClosed:
        return;
    }
  }
}

bool HttpConnection::AdvanceHead() {
  // Some clients send an empty line behind a body.
  while (input().starts_with("\r\n")) {
    input_begin_ += 2;
    scanner_.Reset();
  }
  if (input().empty()) {
    if (close_after_) {
      Close();
      return false;
    }
    StartRead();
    return false;
  }
  std::optional<HttpFault> fault;
  const std::size_t size = scanner_.Scan(input(), fault);
  if (!fault && size > 0) {
    scanner_.Reset();
    head_ = HttpHead();
    fault = ParseHead(input().substr(0, size), head_);
    if (!fault) {
      route_ = FindRoute(head_.method, head_.target, port_);
      input_begin_ += size;
      BeginRequest();
      return true;
    }
  }
  if (fault) {
    head_ = HttpHead();
    Refuse(*fault);
    return true;
  }
  if (GrowInput()) StartRead();
  return false;
}

// Makes room for the rest of a head; false while the room is in use by a read.
bool HttpConnection::GrowInput() {
  if (reading_) return false;
  if (input_end_ < input_capacity_ || input_begin_ > 0) return true;
  // The scanner stops heads that exceed their limit, so that this ends.
  const std::size_t capacity = 2 * input_capacity_;
  auto larger = std::make_unique_for_overwrite<char[]>(capacity);
  std::memcpy(larger.get(), input_.get(), input_end_);
  input_ = std::move(larger);
  input_capacity_ = capacity;
  return true;
}

void HttpConnection::BeginRequest() {
  const HttpLimits& limits = shared_.options.limits;
  refusal_.reset();
  close_after_ = close_after_ || !head_.keep_alive;
  const std::size_t known = static_cast<std::size_t>(head_.content_length);
  const bool has_body = head_.chunked || known > 0;
  // Nobody needs a body to ask for health, and nothing is kept of those without a token.
  const Scope scope = ScopeOf(route_);
  Duration retry_after{0};
  Result<Permit> admitted = shared_.options.access.Admit(
      scope == Scope::kNone && has_body ? Scope::kToken : scope, head_.authorization,
      std::chrono::steady_clock::now(), retry_after);
  if (admitted) {
    permit_ = std::move(*admitted);
  } else {
    const bool limited = admitted.error().code() == StatusCode::kResourceExhausted;
    HttpFault fault{limited ? std::uint16_t{429} : HttpCode(admitted.error().code()),
                    admitted.error().message(), RetryAfterSeconds(retry_after)};
    // Who may come again keeps the connection, if that costs no memory.
    const bool is_small = limited && !head_.chunked && known <= MemoryBudget::kUncounted;
    if (has_body && !is_small) return Refuse(fault);
    refusal_ = std::move(fault);
  }
  if (head_.content_length > limits.body_bytes) {
    return Refuse({413, fmt::format("a body of {} bytes: expected at most {}", head_.content_length,
                                    limits.body_bytes)});
  }
  if (!refusal_ && head_.coding == ContentCoding::kUnknown) {
    refusal_ = HttpFault{415, "this Content-Encoding is not supported: expected gzip or deflate"};
  }
  if (has_body &&
      !body_.Start(shared_.options.memory, static_cast<std::size_t>(head_.json_size.value_or(0)),
                   head_.chunked ? kFirstChunkedBytes : known)) {
    return Refuse({503, "the server has no memory left for the body"});
  }
  if (head_.expects_continue && has_body && input().empty()) {
    constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    boost::system::error_code error;
    const asio::const_buffer text = asio::buffer(kContinue);
    if (transport_.WriteSome({&text, 1}, error) != text.size()) return Close();
  }
  LimitTime(shared_.options.body_timeout);
  if (head_.chunked) {
    chunks_ = std::make_unique<ChunkDecoder>(limits);
    phase_ = Phase::kChunks;
  } else {
    phase_ = Phase::kBody;
  }
}

bool HttpConnection::AdvanceBody() {
  const std::size_t missing = static_cast<std::size_t>(head_.content_length) - body_.size();
  const std::size_t taken = std::min(missing, input().size());
  if (taken > 0) {
    body_.Append(std::as_bytes(std::span(input().data(), taken)));  // never grows
    input_begin_ += taken;
  }
  if (taken == missing) {
    Dispatch();
    return true;
  }
  StartRead();
  return false;
}

bool HttpConnection::AdvanceChunks() {
  std::optional<HttpFault> fault;
  const std::size_t consumed = chunks_->Decode(input(), body_, fault);
  input_begin_ += consumed;
  if (!fault && chunks_->done()) {
    chunks_.reset();
    Dispatch();
    return true;
  }
  if (fault) {
    chunks_.reset();
    Refuse(*fault);
    return true;
  }
  StartRead();
  return false;
}

void HttpConnection::Dispatch() {
  phase_ = Phase::kExecuting;
  has_deadline_ = false;
  if (tracing()) received_last_ = Now();
  if (refusal_) {
    body_ = HttpBody();  // the next request's length is counted from none
    return Reply(FaultReply(*refusal_));
  }
  if (head_.coding == ContentCoding::kIdentity || body_.size() == 0) return DispatchPlain();
  // However small: how large it becomes is not known before.
  On(
      shared_.parse_thread,
      [this, coded = body_.Take()] {
        std::pair<std::optional<HttpFault>, HttpBody> result;
        result.first = InflateBody(head_.coding, coded.data(),
                                   static_cast<std::size_t>(head_.json_size.value_or(0)),
                                   shared_.options.limits, shared_.options.memory, result.second);
        return result;
      },
      [this](std::pair<std::optional<HttpFault>, HttpBody> result) {
        if (result.first) return Reply(FaultReply(*result.first));
        body_ = std::move(result.second);
        DispatchPlain();
      });
}

void HttpConnection::DispatchPlain() {
  if (HttpRoutes::IsInference(route_)) return DispatchInfer();
  if (WorkThread* const control = shared_.routes.ThreadOf(route_)) {
    return On(
        *control, [this, body = body_.Take()] { return shared_.routes.Answer(route_, body); },
        [this](HttpReply reply) { Reply(std::move(reply)); });
  }
  Reply(shared_.routes.Answer(route_, body_.Take()));
}

void HttpConnection::DispatchInfer() {
  const Buffer body = body_.Take();
  const std::size_t json_bytes =
      std::min<std::uint64_t>(head_.json_size.value_or(body.size()), body.size());
  if (json_bytes <= kLargeJsonBytes) {
    return Submit(shared_.routes.DecodeInfer(route_, thread_.decoder(), body, head_.json_size));
  }
  On(
      shared_.parse_thread,
      [this, body] {
        return shared_.routes.DecodeInfer(route_, shared_.parse_decoder, body, head_.json_size);
      },
      [this](Result<InferCall> call) { Submit(std::move(call)); });
}

template <typename Work, typename Then>
void HttpConnection::On(WorkThread& thread, Work work, Then then) {
  parsing_ = true;
  thread.Post([self = shared_from_this(), work = std::move(work), then]() mutable {
    auto result = std::make_unique<decltype(work())>(work());
    asio::post(self->thread_.context(), [self, then, result = std::move(result)]() mutable {
      self->parsing_ = false;
      if (self->phase_ == Phase::kClosed) return self->Leave();
      then(std::move(*result));
      self->Advance();
    });
  });
}

void HttpConnection::Submit(Result<InferCall> call) {
  if (!call) return Reply(HttpRoutes::ErrorReply(call.error()));
  if (tracing()) {
    trace_ = shared_.routes.service().StartTrace(*call);
    if (trace_ != nullptr) {
      // A request whose first bytes came behind those of another one was there before.
      trace_->Mark(TracePoint::kHttpReceiveStart,
                   received_first_ == TimePoint() ? received_last_ : received_first_);
      trace_->Mark(TracePoint::kHttpReceiveEnd, received_last_);
    }
  }
  format_ = std::move(call->format);
  in_node_ = true;
  in_submit_ = true;
  request_ =
      shared_.routes.node().Submit(std::move(call->request), ResponseHandle(shared_from_this()));
  in_submit_ = false;
  if (response_) {
    InferResponse response = std::move(*response_);
    response_.reset();
    OnAnswered(std::move(response));
  }
}

void HttpConnection::OnResponse(InferResponse response) {
  if (trace_ != nullptr) AddToTrace(response, Now(), *trace_);
  if (thread_.RunsHere() && in_submit_) {
    response_ = std::move(response);
    return;
  }
  asio::post(thread_.context(),
             [self = shared_from_this(), response = std::move(response)]() mutable {
               self->OnAnswered(std::move(response));
               self->Advance();
             });
}

void HttpConnection::OnAnswered(InferResponse response) {
  in_node_ = false;
  if (phase_ == Phase::kClosed) return Leave();
  if (!IsLargeJson(format_, response)) {
    return Reply(shared_.routes.InferReply(format_, std::move(response)));
  }
  On(
      shared_.parse_thread,
      [this, response = std::move(response)]() mutable {
        return shared_.routes.InferReply(format_, std::move(response));
      },
      [this](HttpReply reply) { Reply(std::move(reply)); });
}

void HttpConnection::Refuse(const HttpFault& fault) {
  close_after_ = true;
  Reply(FaultReply(fault));
}

ContentCoding HttpConnection::CodingFor(const HttpReply& reply) const {
  // The asynchronous tritonclient asks for gzip on every route, because its HTTP library does, but
  // can read it of inference only.
  const bool reads =
      route_.kind == HttpRoute::Kind::kInfer || route_.kind == HttpRoute::Kind::kMetrics;
  if (!reads || reply.code != 200 || SizeOf(reply) < kSmallestCompressed) {
    return ContentCoding::kIdentity;
  }
  return head_.accepted.Best();
}

void HttpConnection::Reply(HttpReply reply) {
  const ContentCoding coding = CodingFor(reply);
  if (coding == ContentCoding::kIdentity) return Send(std::move(reply));
  On(
      shared_.parse_thread,
      [coding, reply = std::move(reply)]() mutable {
        std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span(reply.body))};
        parts.insert(parts.end(), reply.binary.begin(), reply.binary.end());
        reply.coded = Compress(coding, parts);
        if (reply.coded.size() > 0) reply.coding = coding;
        return std::move(reply);
      },
      [this](HttpReply compressed) { Send(std::move(compressed)); });
}

void HttpConnection::Send(HttpReply reply) {
  reply_ = std::move(reply);
  format_ = InferReplyFormat();
  const bool is_last = peer_finished_ && input().empty();
  if (is_last || shared_.leaving.load(std::memory_order_relaxed)) close_after_ = true;
  const bool compressed = reply_.coding != ContentCoding::kIdentity;

  std::string& head = head_text_;
  head = kProtocol;
  AppendNumber(head, reply_.code);
  head += ' ';
  head += HttpReason(reply_.code);
  head += "\r\nContent-Type: ";
  head += reply_.binary.empty() ? reply_.content_type : "application/octet-stream";
  head += "\r\nContent-Length: ";
  AppendNumber(head, compressed ? reply_.coded.size() : SizeOf(reply_));
  if (compressed) {
    head += "\r\nVary: Accept-Encoding\r\nContent-Encoding: ";
    head += ToString(reply_.coding);
  }
  if (!reply_.binary.empty()) {
    head += "\r\nInference-Header-Content-Length: ";
    AppendNumber(head, reply_.body.size());
  }
  if (!reply_.allow.empty()) {
    head += "\r\nAllow: ";
    head += reply_.allow;
  }
  if (reply_.code == 401) head += "\r\nWWW-Authenticate: Bearer";
  if (reply_.retry_after_s > 0) {
    head += "\r\nRetry-After: ";
    AppendNumber(head, reply_.retry_after_s);
  }
  if (close_after_) {
    head += "\r\nConnection: close";
  } else if (head_.http_1_0) {
    head += "\r\nConnection: keep-alive";
  }
  head += "\r\n\r\n";

  output_.clear();
  output_next_ = 0;
  const std::string_view rest = std::string_view(head).substr(std::exchange(sent_ahead_, 0));
  output_.emplace_back(rest.data(), rest.size());
  const bool has_body = head_.method != HttpMethod::kHead;
  if (has_body && compressed) {
    output_.emplace_back(reply_.coded.data().data(), reply_.coded.size());
  } else if (has_body) {
    output_.emplace_back(reply_.body.data(), reply_.body.size());
    for (const std::span<const std::byte>& part : reply_.binary) {
      if (!part.empty()) output_.emplace_back(part.data(), part.size());
    }
  }
  phase_ = Phase::kWriting;
  if (trace_ != nullptr) trace_->Mark(TracePoint::kHttpSendStart, Now());
  WriteSome();
}

void HttpConnection::WriteSome() {
  while (output_next_ < output_.size()) {
    boost::system::error_code error;
    std::size_t written = transport_.WriteSome(std::span(output_).subspan(output_next_), error);
    if (error == asio::error::would_block) {
      LimitTime(shared_.options.write_timeout);
      transport_.socket().async_wait(
          TcpSocket::wait_write,
          [self = shared_from_this()](const boost::system::error_code& failed) {
            if (self->phase_ != Phase::kWriting) return;
            if (failed) return self->Close();
            self->WriteSome();
            self->Advance();
          });
      return;
    }
    if (error) return Close();
    while (output_next_ < output_.size() && written >= output_[output_next_].size()) {
      written -= output_[output_next_++].size();
    }
    if (written > 0) output_[output_next_] += written;
  }
  OnWritten();
}

void HttpConnection::OnWritten() {
  permit_.reset();
  if (trace_ != nullptr) {
    trace_->Mark(TracePoint::kHttpSendEnd, Now());
    trace_.reset();
  }
  received_first_ = received_last_ = TimePoint();
  reply_ = HttpReply();
  if (!close_after_) {
    phase_ = Phase::kHead;
    head_ = HttpHead();
    LimitTime(input().empty() ? shared_.options.idle_timeout : shared_.options.head_timeout);
    return;
  }
  transport_.FinishWriting();
  if (peer_finished_) return Close();
  // Closing a socket with unread bytes in it resets the connection, and the client may lose the
  // answer that it has not read yet.
  phase_ = Phase::kLinger;
  input_begin_ = input_end_ = 0;
  LimitTime(shared_.options.linger);
}

}  // namespace duly
