// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_call.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <optional>
#include <vector>

#include "server/outcome_codes.h"

namespace duly {
namespace {

// Of a stream, in flight and unread together: more are not taken from the client.
constexpr std::size_t kMaxOpenRequests = 1024;

grpc::Status ToGrpc(const Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), status.message()};
}

// Of the call; nothing when it has no deadline.
std::optional<Duration> TimeLeft(const grpc::ServerContext& context) {
  using std::chrono::system_clock;
  const system_clock::time_point deadline = context.deadline();
  if (deadline == system_clock::time_point::max()) return std::nullopt;
  return std::max<Duration>(Duration(0), deadline - system_clock::now());
}

// While requests may be traced.
TimePoint TraceTime(const ModelService& models) {
  return models.tracing() ? models.node().Now() : TimePoint();
}

// read_start: TimePoint(): when the message was awaited first, nothing was traced.
TraceHandle StartTrace(const ModelService& models, const InferCall& call, TimePoint read_start,
                       TimePoint read_end) {
  if (!models.tracing()) return nullptr;
  TraceHandle trace = models.StartTrace(call);
  if (trace == nullptr) return trace;
  trace->Mark(TracePoint::kGrpcReadStart, read_start == TimePoint() ? read_end : read_start);
  trace->Mark(TracePoint::kGrpcReadEnd, read_end);
  return trace;
}

std::string_view AuthorizationOf(const grpc::ServerContextBase& context) {
  const auto [first, last] = context.client_metadata().equal_range("authorization");
  // Of two nobody knows which one a proxy has looked at.
  const bool single = first != last && std::next(first) == last;
  return single ? std::string_view(first->second.data(), first->second.size()) : std::string_view();
}

// What gRPC's own retries obey.
void AddPushback(grpc::ServerContext& context, Duration retry_after) {
  context.AddTrailingMetadata(
      "grpc-retry-pushback-ms",
      std::to_string(std::chrono::ceil<std::chrono::milliseconds>(retry_after).count()));
}

bool FlagOf(const inference::ModelInferRequest& message, const char* name) {
  const auto found = message.parameters().find(name);
  return found != message.parameters().end() && found->second.bool_param();
}

}  // namespace

Status CheckAccess(const Access& access, Scope scope, const grpc::ServerContextBase& context) {
  return access.Check(scope, AuthorizationOf(context));
}

Result<Permit> Admit(const Access& access, Scope scope, const grpc::ServerContextBase& context,
                     Duration& retry_after) {
  return access.Admit(scope, AuthorizationOf(context), std::chrono::steady_clock::now(),
                      retry_after);
}

void UnaryCall::Await(GrpcShared& shared, grpc::ServerCompletionQueue& queue) {
  auto call = std::make_shared<UnaryCall>(shared, queue);
  // Armed when the call has come: gRPC forgets this event of a call that never does.
  call->context_.AsyncNotifyWhenDone(call->done_.tag());
  UnaryCall& self = *call;
  self.awaited_ = TraceTime(shared.models);
  shared.service.RequestModelInfer(&self.context_, &self.bytes_, &self.writer_, &queue, &queue,
                                   self.accepted_.Arm(std::move(call)));
}

void UnaryCall::OnAccepted(bool ok) {
  if (!ok) return;
  const TimePoint read = TraceTime(shared_.models);
  done_.Arm(shared_from_this());
  shared_.open.Add();
  Await(shared_, queue_);
  Duration retry_after{0};
  Result<Permit> admitted = Admit(shared_.access, Scope::kInfer, context_, retry_after);
  if (!admitted) return Fail(admitted.error(), retry_after);
  permit_ = std::move(*admitted);
  const auto message = GrpcInferMessage::Parse(bytes_, shared_.message_bytes);
  if (!message) return Fail(message.error(), Duration(0));
  Result<InferCall> call = DecodeGrpcInfer(*message, shared_.models);
  if (!call) return Fail(call.error(), Duration(0));
  trace_ = StartTrace(shared_.models, *call, awaited_, read);
  format_ = std::move(call->format);
  call->request.call_timeout = TimeLeft(context_);
  request_ =
      shared_.models.node().Submit(std::move(call->request), ResponseHandle(shared_from_this()));
}

void UnaryCall::OnResponse(InferResponse response) {
  const bool traced = trace_ != nullptr;
  if (traced) AddToTrace(response, shared_.models.node().Now(), *trace_);
  const Status status = Conclude(format_, response);
  if (!status.ok()) return Fail(status, response.retry_after);
  const grpc::ByteBuffer reply = EncodeGrpcReply(GrpcReply::kUnary, format_, response);
  if (traced) trace_->Mark(TracePoint::kGrpcSendStart, shared_.models.node().Now());
  writer_.Finish(reply, grpc::Status::OK, finished_.Arm(shared_from_this()));
}

void UnaryCall::Fail(const Status& status, Duration retry_after) {
  if (IsRetryable(status.code())) AddPushback(context_, retry_after);
  if (trace_ != nullptr) trace_->Mark(TracePoint::kGrpcSendStart, shared_.models.node().Now());
  writer_.FinishWithError(ToGrpc(status), finished_.Arm(shared_from_this()));
}

void UnaryCall::OnFinished(bool ok) {
  if (trace_ != nullptr) {
    if (ok) trace_->Mark(TracePoint::kGrpcSendEnd, shared_.models.node().Now());
    trace_.reset();
  }
  permit_.reset();
  shared_.open.Remove();
}

void UnaryCall::OnDone(bool /*ok*/) {
  // The client left, or its deadline has passed. Of a request that has ended nobody knows.
  if (context_.IsCancelled() && format_.model != nullptr) shared_.models.node().Cancel(request_);
}

class StreamCall::Request final : public ResponseSink,
                                  public std::enable_shared_from_this<Request> {
 public:
  Request(std::shared_ptr<StreamCall> stream, InferReplyFormat reply_format, GrpcReply reply_kind)
      : format(std::move(reply_format)), kind(reply_kind), stream_(std::move(stream)) {}

  void OnResponse(InferResponse response) override {
    stream_->Answered(shared_from_this(), std::move(response));
  }

  const InferReplyFormat format;
  const GrpcReply kind;
  Permit permit;
  TraceHandle trace;
  RequestId id;            // guarded by the stream's lock
  bool submitted = false;  // guarded by the stream's lock

 private:
  const std::shared_ptr<StreamCall> stream_;
};

void ControlCall::Await(GrpcShared& shared, grpc::ServerCompletionQueue& queue, Scope scope,
                        Request request, Answer answer, WorkThread* thread) {
  // Deletes itself after its last event.
  auto* const call = new ControlCall(shared, queue, scope, request, std::move(answer), thread);
  (shared.service.*request)(&call->context_, &call->bytes_, &call->writer_, &queue, &queue,
                            static_cast<GrpcEvent*>(call));
}

void ControlCall::Complete(bool ok) {
  if (finishing_ || !ok) {
    if (finishing_) shared_.open.Remove();
    delete this;
    return;
  }
  Await(shared_, queue_, scope_, request_, answer_, thread_);
  finishing_ = true;
  shared_.open.Add();
  Duration retry_after{0};
  Result<Permit> admitted = Admit(shared_.access, scope_, context_, retry_after);
  if (!admitted) {
    if (IsRetryable(admitted.error().code())) AddPushback(context_, retry_after);
    return writer_.FinishWithError(ToGrpc(admitted.error()), static_cast<GrpcEvent*>(this));
  }
  permit_ = std::move(*admitted);
  if (thread_ == nullptr) return Reply();
  thread_->Post([this] { Reply(); });
}

void ControlCall::Reply() {
  const Result<grpc::ByteBuffer> reply = answer_(bytes_);
  if (reply) {
    writer_.Finish(*reply, grpc::Status::OK, static_cast<GrpcEvent*>(this));
  } else {
    writer_.FinishWithError(ToGrpc(reply.error()), static_cast<GrpcEvent*>(this));
  }
}

void StreamCall::Await(GrpcShared& shared, grpc::ServerCompletionQueue& queue) {
  auto call = std::make_shared<StreamCall>(shared, queue);
  call->context_.AsyncNotifyWhenDone(call->done_.tag());
  StreamCall& self = *call;
  shared.service.RequestModelStreamInfer(&self.context_, &self.stream_, &queue, &queue,
                                         self.accepted_.Arm(std::move(call)));
}

void StreamCall::OnAccepted(bool ok) {
  if (!ok) return;
  done_.Arm(shared_from_this());
  shared_.open.Add();
  Await(shared_, queue_);
  const auto codes = context_.client_metadata().find("triton_grpc_error");
  real_codes_ = codes != context_.client_metadata().end() && codes->second == "true";
  bool draining = false;
  {
    const MutexLock lock(shared_.mutex);
    shared_.streams.insert(shared_from_this());
    draining = shared_.draining;
  }
  if (draining) return Drain();
  const Status allowed = CheckAccess(shared_.access, Scope::kInfer, context_);
  const MutexLock lock(mutex_);
  if (!allowed.ok()) {
    no_more_ = true;
    end_ = ToGrpc(allowed);
  }
  Proceed();
}

void StreamCall::OnRead(bool ok) {
  TimePoint started;
  {
    const MutexLock lock(mutex_);
    reading_ = false;
    if (!ok) no_more_ = true;
    if (!ok || no_more_) return Proceed();
    taking_ = true;
    started = read_started_;
  }
  Take(started);
  const MutexLock lock(mutex_);
  taking_ = false;
  Proceed();
}

void StreamCall::Take(TimePoint read_started) {
  const TimePoint read = TraceTime(shared_.models);
  const auto message = GrpcInferMessage::Parse(incoming_, shared_.message_bytes);
  Duration retry_after{0};
  Result<Permit> admitted = Admit(shared_.access, Scope::kInfer, context_, retry_after);
  Result<InferCall> call = !message    ? Result<InferCall>(Error(message.error()))
                           : !admitted ? Result<InferCall>(Error(admitted.error()))
                                       : DecodeGrpcInfer(*message, shared_.models);
  if (!call) {
    const MutexLock lock(mutex_);
    return SendError(message ? (**message)->id() : std::string(), call.error());
  }
  // A request has one answer; marked as the last it needs no empty one behind it, which clients
  // would count.
  const GrpcReply kind = FlagOf(***message, "triton_enable_empty_final_response")
                             ? GrpcReply::kFinal
                             : GrpcReply::kStream;
  TraceHandle trace = StartTrace(shared_.models, *call, read_started, read);
  auto request = std::make_shared<Request>(shared_from_this(), std::move(call->format), kind);
  request->trace = std::move(trace);
  request->permit = std::move(*admitted);
  call->request.call_timeout = TimeLeft(context_);
  {
    const MutexLock lock(mutex_);
    in_flight_.insert(request);
  }
  const RequestId id =
      shared_.models.node().Submit(std::move(call->request), ResponseHandle(request));
  bool gone = false;
  {
    const MutexLock lock(mutex_);
    request->id = id;
    request->submitted = true;
    gone = broken_;
  }
  if (gone) shared_.models.node().Cancel(id);
}

void StreamCall::Answered(const std::shared_ptr<Request>& request, InferResponse response) {
  TraceHandle trace = std::move(request->trace);
  if (trace != nullptr) AddToTrace(response, shared_.models.node().Now(), *trace);
  const Status status = Conclude(request->format, response);
  grpc::ByteBuffer reply;
  if (status.ok()) reply = EncodeGrpcReply(request->kind, request->format, response);
  const MutexLock lock(mutex_);
  in_flight_.erase(request);
  if (!status.ok()) {
    SendError(request->format.id, status, std::move(trace));
  } else {
    Send(std::move(reply), std::move(trace));
  }
  Proceed();
}

void StreamCall::SendError(const std::string& id, const Status& status, TraceHandle trace) {
  if (real_codes_ && !no_more_) {
    no_more_ = true;
    end_ = ToGrpc(status);
  }
  if (!real_codes_) Send(EncodeGrpcStreamError(id, status), std::move(trace));
}

void StreamCall::Send(grpc::ByteBuffer message, TraceHandle trace) {
  if (!broken_) outgoing_.push_back({std::move(message), std::move(trace)});
}

void StreamCall::Break() {
  broken_ = true;
  no_more_ = true;
  outgoing_.clear();
}

void StreamCall::Proceed() {
  if (finishing_) return;
  if (!writing_ && !outgoing_.empty()) {
    writing_ = true;
    const grpc::ByteBuffer message = std::move(outgoing_.front().message);
    written_trace_ = std::move(outgoing_.front().trace);
    outgoing_.pop_front();
    if (written_trace_ != nullptr) {
      written_trace_->Mark(TracePoint::kGrpcSendStart, shared_.models.node().Now());
    }
    stream_.Write(message, written_.Arm(shared_from_this()));
  }
  if (!reading_ && !taking_ && !no_more_ &&
      in_flight_.size() + outgoing_.size() < kMaxOpenRequests) {
    reading_ = true;
    read_started_ = TraceTime(shared_.models);
    stream_.Read(&incoming_, read_.Arm(shared_from_this()));
  }
  if (no_more_ && !taking_ && !writing_ && in_flight_.empty() && outgoing_.empty()) {
    finishing_ = true;
    stream_.Finish(end_, finished_.Arm(shared_from_this()));
  }
}

void StreamCall::OnWritten(bool ok) {
  const MutexLock lock(mutex_);
  writing_ = false;
  if (written_trace_ != nullptr) {
    if (ok) written_trace_->Mark(TracePoint::kGrpcSendEnd, shared_.models.node().Now());
    written_trace_.reset();
  }
  if (!ok) Break();
  Proceed();
}

void StreamCall::Drain() {
  const MutexLock lock(mutex_);
  if (!no_more_) {
    no_more_ = true;
    end_ = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server is shutting down");
  }
  Proceed();
}

void StreamCall::OnFinished(bool /*ok*/) {
  {
    const MutexLock lock(shared_.mutex);
    shared_.streams.erase(shared_from_this());
  }
  shared_.open.Remove();
}

void StreamCall::OnDone(bool /*ok*/) {
  if (!context_.IsCancelled()) return;
  std::vector<RequestId> ids;
  {
    const MutexLock lock(mutex_);
    Break();
    for (const std::shared_ptr<Request>& request : in_flight_) {
      if (request->submitted) ids.push_back(request->id);
    }
    Proceed();
  }
  for (const RequestId id : ids) shared_.models.node().Cancel(id);
}

}  // namespace duly
