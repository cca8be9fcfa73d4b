// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "server/outcome_codes.h"

namespace duly {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kMaxHeadBytes = std::size_t{16} << 10;
constexpr std::uint32_t kMaxCalls = 1024;  // of a connection
constexpr std::uint32_t kMaxFrameBytes = 1 << 20;
// What may be under way to one call, and to all of a connection: bytes that come are taken at once.
constexpr std::uint32_t kCallWindow = 1 << 20;
constexpr std::int32_t kConnectionWindow = 1 << 24;
// A read, and how many of them come before other connections' turn.
constexpr std::size_t kReadBytes = std::size_t{128} << 10;
constexpr int kReads = 16;

constexpr std::size_t kFrameHeadBytes = 9;
constexpr std::size_t kMaxSentFrame = kFrameHeadBytes + 16384;  // nghttp2's
constexpr std::size_t kSmallBytes = std::size_t{64} << 10;
constexpr std::size_t kMaxOutput = std::size_t{1} << 20;
// Smaller pieces are copied: a part of its own costs more.
constexpr std::size_t kCopiedBytes = 2048;
// Of a status; clients bound what they accept.
constexpr std::size_t kMaxStatusText = 4096;

std::string_view ViewOf(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Texts that outlive the session are not copied by it.
nghttp2_nv Field(std::string_view name, std::string_view value, bool is_static) {
  nghttp2_nv field;
  field.name = reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data()));
  field.namelen = name.size();
  field.value = reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data()));
  field.valuelen = value.size();
  field.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
  if (is_static) field.flags |= NGHTTP2_NV_FLAG_NO_COPY_VALUE;
  return field;
}

const nghttp2_nv kOkField = Field(":status", "200", true);
const nghttp2_nv kTypeField = Field("content-type", "application/grpc", true);
const nghttp2_nv kCodingsField = Field("grpc-accept-encoding", "identity,deflate,gzip", true);

// "application/grpc", and with a suffix.
bool IsGrpcType(std::string_view type) {
  constexpr std::string_view kType = "application/grpc";
  return type.starts_with(kType) &&
         (type.size() == kType.size() || type[kType.size()] == '+' || type[kType.size()] == ';');
}

struct OptionsDelete {
  void operator()(nghttp2_option* options) const { nghttp2_option_del(options); }
};

std::unique_ptr<nghttp2_option, OptionsDelete> SessionOptions() {
  nghttp2_option* made = nullptr;
  if (nghttp2_option_new(&made) != 0) return nullptr;
  std::unique_ptr<nghttp2_option, OptionsDelete> options(made);
  nghttp2_option_set_no_auto_window_update(made, 1);
  nghttp2_option_set_no_closed_streams(made, 1);
  nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(made, 1);
  // Clients reset the streams of calls whose deadline passes: under overload that is most of them.
  // A call that is reset costs no more than one that is answered.
  constexpr std::uint64_t kUnlimited = 1'000'000'000;
  nghttp2_option_set_stream_reset_rate_limit(made, kUnlimited, kUnlimited);
  return options;
}

}  // namespace

struct GrpcConnection::Callbacks {
  static GrpcConnection& Of(void* user_data) { return *static_cast<GrpcConnection*>(user_data); }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (IsRequest(frame)) Of(user_data).BeginHead();
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                      std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                      std::uint8_t, void* user_data) {
    if (IsRequest(frame)) {
      Of(user_data).AddField(ViewOf(name, name_size), ViewOf(value, value_size));
    }
    return 0;
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    GrpcConnection& connection = Of(user_data);
    const std::int32_t stream = frame->hd.stream_id;
    const bool is_last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (IsRequest(frame)) {
          connection.OnHead(stream, is_last);
        } else if (is_last) {
          connection.OnInputEnd(stream);
        }
        break;
      case NGHTTP2_DATA:
        if (is_last) connection.OnInputEnd(stream);
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && connection.draining_) {
          connection.GoAway();
        }
        break;
      default:
        break;
    }
    return 0;
  }

  static int OnDataChunk(nghttp2_session*, std::uint8_t, std::int32_t stream,
                         const std::uint8_t* data, std::size_t size, void* user_data) {
    Of(user_data).OnData(stream, std::as_bytes(std::span(data, size)));
    return 0;
  }

  static int OnStreamClose(nghttp2_session*, std::int32_t stream, std::uint32_t, void* user_data) {
    Of(user_data).OnStreamClosed(stream);
    return 0;
  }

  // A client that is told the end while it still sends need not go on (RFC 9113, 8.1).
  static int OnFrameSent(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    const std::int32_t stream = frame->hd.stream_id;
    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        nghttp2_session_get_stream_remote_close(session, stream) == 0) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  static ssize_t ReadData(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t most,
                          std::uint32_t* flags, nghttp2_data_source* source, void* user_data) {
    const std::optional<std::size_t> bytes =
        Of(user_data).NextData(*static_cast<GrpcCall*>(source->ptr), most, *flags);
    return bytes ? static_cast<ssize_t>(*bytes) : ssize_t{NGHTTP2_ERR_DEFERRED};
  }

  static int SendData(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head, std::size_t size,
                      nghttp2_data_source* source, void* user_data) {
    GrpcConnection& connection = Of(user_data);
    if (!connection.HasRoom()) return NGHTTP2_ERR_WOULDBLOCK;
    connection.PutBytes(std::as_bytes(std::span(head, kFrameHeadBytes)));
    connection.PutMessages(*static_cast<GrpcCall*>(source->ptr), size);
    return 0;
  }

  static bool IsRequest(const nghttp2_frame* frame) {
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
  }

  // Null when there is no memory.
  static const nghttp2_session_callbacks* All() {
    static const nghttp2_session_callbacks* const all = [] {
      nghttp2_session_callbacks* made = nullptr;
      if (nghttp2_session_callbacks_new(&made) != 0) return made;
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, OnBeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(made, OnHeader);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, OnFrame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, OnDataChunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, OnStreamClose);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, OnFrameSent);
      nghttp2_session_callbacks_set_send_data_callback(made, SendData);
      return made;
    }();
    return all;
  }
};

GrpcConnection::GrpcConnection(TcpSocket socket, IoThread& thread, GrpcShared& shared,
                               ClientConnections::Lease lease)
    : transport_(std::move(socket), shared.options.tls.get(), TlsProtocol::kHttp2),
      thread_(thread),
      shared_(shared),
      lease_(std::move(lease)) {
  shared_.connections.fetch_add(1, std::memory_order_relaxed);
}

GrpcConnection::~GrpcConnection() {
  nghttp2_session_del(session_);
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
}

void GrpcConnection::Start() {
  boost::system::error_code ignored;  // the connection works without, and a dead one shows itself
  transport_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  transport_.socket().non_blocking(true, ignored);
  last_received_ = last_call_ = thread_.now();
  OnReadable();
}

bool GrpcConnection::StartSession() {
  static const auto options = SessionOptions();
  if (options == nullptr || Callbacks::All() == nullptr ||
      nghttp2_session_server_new2(&session_, Callbacks::All(), this, options.get()) != 0) {
    return false;
  }
  const std::array<nghttp2_settings_entry, 4> settings{{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxCalls},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kCallWindow},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrameBytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeadBytes},
  }};
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0 ||
      nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) !=
          0) {
    return false;
  }
  if (draining_) AnnounceEnd();
  return true;
}

void GrpcConnection::Wait() {
  transport_.AsyncWaitReadable(
      [self = shared_from_this()](const boost::system::error_code& stopped) {
        if (self->closed_) return;
        if (stopped) return self->Close();
        self->OnReadable();
      });
}

void GrpcConnection::OnReadable() {
  thread_local const auto room = std::make_unique_for_overwrite<std::byte[]>(kReadBytes);
  in_turn_ = true;
  for (int reads = 0; reads < kReads; ++reads) {
    boost::system::error_code error;
    const std::size_t bytes = transport_.ReadSome(asio::buffer(room.get(), kReadBytes), error);
    if (error == asio::error::would_block) break;
    if (error) return Close();
    last_received_ = thread_.now();
    pinged_ = false;
    if (lingering_) continue;
    if (session_ == nullptr && !StartSession()) return Close();
    if (nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(room.get()),
                                 bytes) < 0) {
      return Close();
    }
    if (bytes < kReadBytes && !shared_.options.tls) break;
  }
  EndTurn();
  if (!closed_) Wait();
}

void GrpcConnection::EndTurn() {
  in_turn_ = ending_turn_ = true;
  do {
    for (const auto& call : std::exchange(continued_, {})) call->ContinueReading();
    if (!closed_) Flush();
  } while (RunPosted() || !continued_.empty());
  in_turn_ = ending_turn_ = false;
  if (closed_ && expected_ == 0 && !std::exchange(left_, true)) {
    thread_.Remove(shared_from_this());
  }
}

bool GrpcConnection::RunPosted() {
  std::vector<Work> posted;
  {
    const MutexLock lock(mutex_);
    scheduled_ = false;
    posted.swap(posted_);
  }
  for (const Work& work : posted) {
    if (work.is_expected) --expected_;
    work.run();
  }
  return !posted.empty();
}

void GrpcConnection::Post(Work work) {
  // The end of the turn comes to it.
  const bool soon = thread_.RunsHere() && in_turn_;
  {
    const MutexLock lock(mutex_);
    posted_.push_back(std::move(work));
    if (soon || std::exchange(scheduled_, true)) return;
  }
  asio::post(thread_.context(), [self = shared_from_this()] { self->EndTurn(); });
}

void GrpcConnection::Continue(std::shared_ptr<GrpcCall> call) {
  continued_.push_back(std::move(call));
}

void GrpcConnection::CountSent(std::size_t bytes) {
  const bool was_full = is_full();
  unsent_bytes_ -= bytes;
  if (!was_full || is_full()) return;
  for (const auto& [stream, call] : calls_) Continue(call);
}

void GrpcConnection::Grant(std::int32_t stream, std::size_t bytes) {
  if (!closed_ && bytes > 0) nghttp2_session_consume_stream(session_, stream, bytes);
}

// Receiving.

void GrpcConnection::BeginHead() {
  head_ = GrpcHead();
  fields_ = HeadFields();
}

void GrpcConnection::AddField(std::string_view name, std::string_view value) {
  fields_.bytes += name.size() + value.size() + 32;  // as RFC 9113, 6.5.2, counts them
  if (fields_.bytes > kMaxHeadBytes) return;
  if (name == ":path") {
    head_.path = value;
  } else if (name == ":method") {
    fields_.is_post = value == "POST";
  } else if (name == "content-type") {
    fields_.is_grpc = IsGrpcType(value);
  } else if (name == "authorization") {
    // Of two nobody knows which one a proxy has looked at.
    head_.authorization = ++fields_.authorizations == 1 ? value : std::string_view();
  } else if (name == "grpc-timeout") {
    const std::optional<Duration> timeout = ParseGrpcTimeout(value);
    if (timeout) {
      head_.deadline = std::chrono::steady_clock::now() + *timeout;
    } else {
      fields_.fault = Status(StatusCode::kInvalidArgument,
                             fmt::format("grpc-timeout '{}': expected at most eight digits and a "
                                         "unit, one of H, M, S, m, u and n",
                                         value));
    }
  } else if (name == "grpc-encoding") {
    const std::optional<GrpcCoding> coding = ParseGrpcCoding(value);
    if (coding) {
      head_.coding = *coding;
    } else {
      fields_.fault =
          Status(StatusCode::kUnimplemented,
                 fmt::format("grpc-encoding '{}': expected identity, deflate or gzip", value));
    }
  } else if (name == "triton_grpc_error") {
    head_.wants_real_codes = value == "true";
  }
}

void GrpcConnection::OnHead(std::int32_t stream, bool is_last) {
  if (fields_.bytes > kMaxHeadBytes) {
    return SubmitStatus(
        stream,
        Status(StatusCode::kResourceExhausted,
               fmt::format("the call's metadata is larger than {} bytes", kMaxHeadBytes)),
        Duration(0), false);
  }
  if (!fields_.is_post) return SubmitHttpError(stream, "405");
  if (!fields_.is_grpc) return SubmitHttpError(stream, "415");
  Duration retry_after{0};
  const GrpcMethod* method = nullptr;
  if (const Status opened = Open(method, retry_after); !opened.ok()) {
    return SubmitStatus(stream, opened, retry_after, false);
  }
  const std::shared_ptr<GrpcCall> call = method->make(shared_from_this(), std::move(head_));
  call->stream_ = stream;
  calls_.emplace(stream, call);
  if (draining_) call->OnDrain();
  if (is_last) call->EndInput();
}

Status GrpcConnection::Open(const GrpcMethod*& method, Duration& retry_after) {
  const auto found = shared_.methods.find(head_.path);
  if (found == shared_.methods.end()) {
    return Status(StatusCode::kUnimplemented, fmt::format("there is no method {}", head_.path));
  }
  if (fields_.fault) return *fields_.fault;
  method = &found->second;
  const Access& access = shared_.options.access;
  if (method->admits_messages) return access.Check(method->scope, head_.authorization);
  Result<Permit> permit = access.Admit(method->scope, head_.authorization,
                                       std::chrono::steady_clock::now(), retry_after);
  if (!permit) return permit.error();
  head_.permit = std::move(*permit);
  return Status();
}

void GrpcConnection::OnData(std::int32_t stream, std::span<const std::byte> bytes) {
  nghttp2_session_consume_connection(session_, bytes.size());
  const auto found = calls_.find(stream);
  // Those of calls that were refused are not looked at.
  Grant(stream, found == calls_.end() ? bytes.size() : found->second->Receive(bytes));
}

void GrpcConnection::OnInputEnd(std::int32_t stream) {
  if (const auto found = calls_.find(stream); found != calls_.end()) found->second->EndInput();
}

void GrpcConnection::OnStreamClosed(std::int32_t stream) {
  const auto found = calls_.find(stream);
  if (found == calls_.end()) return;
  const std::shared_ptr<GrpcCall> call = std::move(found->second);
  calls_.erase(found);
  last_call_ = thread_.now();
  call->Cancel();
}

// Sending.

void GrpcConnection::Resume(GrpcCall& call) {
  if (closed_) return;
  if (call.has_head_) {
    if (std::exchange(call.deferred_, false)) nghttp2_session_resume_data(session_, call.stream_);
    return;
  }
  call.has_head_ = true;
  if (call.outgoing_.empty()) {
    return SubmitStatus(call.stream_, call.status_, call.retry_after_, false);
  }
  const std::array<nghttp2_nv, 3> head{kOkField, kTypeField, kCodingsField};
  nghttp2_data_provider messages;
  messages.source.ptr = &call;
  messages.read_callback = Callbacks::ReadData;
  nghttp2_submit_response(session_, call.stream_, head.data(), head.size(), &messages);
}

void GrpcConnection::SubmitStatus(std::int32_t stream, const Status& status, Duration retry_after,
                                  bool is_trailer) {
  std::vector<nghttp2_nv> fields;
  if (!is_trailer) fields = {kOkField, kTypeField, kCodingsField};
  const std::string code = std::to_string(static_cast<int>(status.code()));
  fields.push_back(Field("grpc-status", code, false));
  const std::string text =
      EncodeGrpcText(std::string_view(status.message()).substr(0, kMaxStatusText));
  if (!text.empty()) fields.push_back(Field("grpc-message", text, false));
  std::string pushback;
  if (IsRetryable(status.code()) && retry_after > Duration(0)) {  // what gRPC's own retries obey
    pushback = std::to_string(std::chrono::ceil<std::chrono::milliseconds>(retry_after).count());
    fields.push_back(Field("grpc-retry-pushback-ms", pushback, false));
  }
  if (is_trailer) {
    nghttp2_submit_trailer(session_, stream, fields.data(), fields.size());
  } else {
    nghttp2_submit_response(session_, stream, fields.data(), fields.size(), nullptr);
  }
}

void GrpcConnection::SubmitHttpError(std::int32_t stream, std::string_view code) {
  const nghttp2_nv status = Field(":status", code, true);
  nghttp2_submit_response(session_, stream, &status, 1, nullptr);
}

std::optional<std::size_t> GrpcConnection::NextData(GrpcCall& call, std::size_t most,
                                                    std::uint32_t& flags) {
  if (call.unsent_bytes_ == 0 && !call.finished_) {
    call.deferred_ = true;
    return std::nullopt;
  }
  const std::size_t bytes = std::min(most, call.unsent_bytes_);
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (bytes == call.unsent_bytes_ && call.finished_) {
    flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    SubmitStatus(call.stream_, call.status_, call.retry_after_, true);
  }
  return bytes;
}

bool GrpcConnection::HasRoom() const {
  // For a frame of messages and the frame behind it.
  return small_size_ + 2 * kMaxSentFrame <= kSmallBytes && output_bytes_ < kMaxOutput;
}

void GrpcConnection::PutBytes(std::span<const std::byte> bytes) {
  std::byte* const to = small_.get() + small_size_;
  std::memcpy(to, bytes.data(), bytes.size());
  small_size_ += bytes.size();
  output_bytes_ += bytes.size();
  if (!output_.empty()) {
    asio::const_buffer& last = output_.back();
    if (static_cast<const std::byte*>(last.data()) + last.size() == to) {
      last = asio::buffer(last.data(), last.size() + bytes.size());
      return;
    }
  }
  output_.emplace_back(to, bytes.size());
}

void GrpcConnection::PutMessages(GrpcCall& call, std::size_t bytes) {
  const bool held_back = call.unsent_bytes_ >= GrpcCall::kMaxUnsentBytes;
  call.unsent_bytes_ -= bytes;
  CountSent(bytes);
  if (held_back && call.reads()) Continue(call.shared_from_this());
  while (bytes > 0) {
    GrpcCall::Outgoing& message = call.outgoing_.front();
    std::size_t begin = 0;
    const auto put = [&](std::span<const std::byte> piece, const Buffer* owner) {
      const std::size_t skip = message.sent - begin;
      begin += piece.size();
      if (skip >= piece.size() || bytes == 0) return;
      const auto part = piece.subspan(skip, std::min(bytes, piece.size() - skip));
      if (owner == nullptr || part.size() < kCopiedBytes) {
        PutBytes(part);
      } else {
        output_.emplace_back(part.data(), part.size());
        output_bytes_ += part.size();
        held_.push_back(*owner);
      }
      message.sent += part.size();
      bytes -= part.size();
    };
    put(message.prefix, nullptr);
    for (const Buffer& piece : message.pieces) put(piece.data(), &piece);
    if (message.sent < message.size) return;
    if (message.trace != nullptr) on_wire_.push_back(std::move(message.trace));
    call.outgoing_.pop_front();
  }
}

bool GrpcConnection::FillOutput() {
  if (session_ == nullptr) return false;
  if (small_ == nullptr) small_ = std::make_unique_for_overwrite<std::byte[]>(kSmallBytes);
  while (HasRoom()) {
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size < 0) {
      Close();
      return false;
    }
    if (size == 0) break;  // there is no more, or no room
    PutBytes(std::as_bytes(std::span(data, static_cast<std::size_t>(size))));
  }
  return !output_.empty();
}

void GrpcConnection::Flush() {
  if (waiting_to_write_ || lingering_) return;
  while (!closed_) {
    if (output_next_ == output_.size()) {
      OnFlushed();
      if (!FillOutput()) break;
    }
    boost::system::error_code error;
    std::size_t written = transport_.WriteSome(std::span(output_).subspan(output_next_), error);
    if (error == asio::error::would_block) {
      write_deadline_ = thread_.now() + thread_.tick() + shared_.options.write_timeout;
      waiting_to_write_ = true;
      transport_.socket().async_wait(
          TcpSocket::wait_write,
          [self = shared_from_this()](const boost::system::error_code& failed) {
            self->waiting_to_write_ = false;
            if (self->closed_) return;
            if (failed) return self->Close();
            self->EndTurn();
          });
      return;
    }
    if (error) return Close();
    while (output_next_ < output_.size() && written >= output_[output_next_].size()) {
      written -= output_[output_next_++].size();
    }
    if (written > 0) output_[output_next_] += written;
  }
  write_deadline_.reset();
  if (!closed_ && session_ != nullptr && nghttp2_session_want_read(session_) == 0 &&
      nghttp2_session_want_write(session_) == 0) {
    Linger();
  }
}

void GrpcConnection::OnFlushed() {
  for (const TraceHandle& trace : on_wire_) {
    trace->Mark(TracePoint::kGrpcSendEnd, shared_.models.node().Now());
  }
  on_wire_.clear();
  output_.clear();
  held_.clear();
  output_next_ = output_bytes_ = small_size_ = 0;
}

// Ending.

void GrpcConnection::Tick(IoThread::Time now) {
  if (last_call_ == IoThread::Time()) return;  // it has not started
  const GrpcOptions& options = shared_.options;
  if (write_deadline_ && now >= *write_deadline_) return Close();
  if (drain_deadline_ && now >= *drain_deadline_) {
    drain_deadline_.reset();
    if (lingering_ || session_ == nullptr) return Close();
    GoAway();
  }
  if (calls_.empty()) {
    if (output_.empty()) small_.reset();
    if (now >= last_call_ + options.idle_timeout) {
      if (session_ == nullptr) return Close();
      GoAway();
    }
  } else {
    CheckCalls(now);
    if (now >= last_received_ + options.keepalive) {
      if (!std::exchange(pinged_, true)) {
        nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
      } else if (now >= last_received_ + 2 * options.keepalive) {
        return Close();
      }
    }
  }
  EndTurn();
}

void GrpcConnection::CheckCalls(IoThread::Time now) {
  std::vector<std::shared_ptr<GrpcCall>> late;
  const Duration limit = thread_.tick() + shared_.options.message_timeout;
  for (const auto& [stream, call] : calls_) {
    const bool expired = call->head_.deadline && now >= *call->head_.deadline;
    if (expired || (call->awaits_bytes() && now >= call->last_bytes_ + limit)) {
      late.push_back(call);
    }
  }
  in_turn_ = true;
  for (const auto& call : late) {
    const bool expired = call->head_.deadline && now >= *call->head_.deadline;
    call->Expire(Status(
        StatusCode::kDeadlineExceeded,
        expired ? "the call's deadline has passed" : "the call's message did not arrive in time"));
  }
}

void GrpcConnection::CloseWhenIdle() {
  draining_ = true;
  drain_deadline_ = thread_.now() + thread_.tick() + shared_.options.linger;
  if (session_ == nullptr) {
    if (!transport_.HasUnread()) Close();
    return;
  }
  AnnounceEnd();
  in_turn_ = true;
  const auto calls = calls_;
  for (const auto& [stream, call] : calls) {
    if (call->is_open()) call->OnDrain();
  }
  EndTurn();
}

// Calls that are on their way are taken, until the client has answered that it knows.
void GrpcConnection::AnnounceEnd() {
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
}

void GrpcConnection::GoAway() {
  if (std::exchange(going_away_, true)) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
}

// All has been said. Closing a socket with unread bytes in it resets the connection, and the client
// may lose what it has not read yet.
void GrpcConnection::Linger() {
  lingering_ = true;
  drain_deadline_ = thread_.now() + thread_.tick() + shared_.options.linger;
  transport_.FinishWriting();
}

void GrpcConnection::Abort() { Close(); }

void GrpcConnection::Close() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ignored;
  transport_.socket().close(ignored);
  in_turn_ = true;
  for (const auto& [stream, call] : std::exchange(calls_, {})) call->Cancel();
  OnFlushed();
  if (!ending_turn_) EndTurn();
}

}  // namespace duly
