// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_infer.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>

#include "server/grpc_codec.h"
#include "server/grpc_connection.h"

namespace duly {
namespace {

// Of a stream, in flight and unread together: more are not taken from the client.
constexpr std::size_t kMaxOpenRequests = 1024;

// While requests may be traced.
TimePoint TraceTime(const ModelService& models) {
  return models.tracing() ? models.node().Now() : TimePoint();
}

// awaited: since when the message was; TimePoint(): nothing was traced then.
TraceHandle StartTrace(const ModelService& models, const InferCall& call, TimePoint awaited,
                       TimePoint read) {
  if (!models.tracing()) return nullptr;
  TraceHandle trace = models.StartTrace(call);
  if (trace == nullptr) return trace;
  trace->Mark(TracePoint::kGrpcReadStart, awaited == TimePoint() ? read : awaited);
  trace->Mark(TracePoint::kGrpcReadEnd, read);
  return trace;
}

bool FlagOf(const inference::ModelInferRequest& message, const char* name) {
  const auto found = message.parameters().find(name);
  return found != message.parameters().end() && found->second.bool_param();
}

// One request and its answer, of either kind of call. OnResponse comes from any thread, the rest
// belongs to the call's.
template <typename Call>
class InFlight final : public ResponseSink, public std::enable_shared_from_this<InFlight<Call>> {
 public:
  InFlight(std::shared_ptr<Call> call, InferReplyFormat reply_format, GrpcReply reply_kind)
      : format(std::move(reply_format)), kind(reply_kind), call_(std::move(call)) {}

  void Submit(ModelService& models, InferRequest request) {
    call_->Expect();
    id = models.node().Submit(std::move(request), ResponseHandle(this->shared_from_this()));
  }

  void OnResponse(InferResponse response) override {
    const ModelService& models = call_->models();
    if (trace != nullptr) AddToTrace(response, models.node().Now(), *trace);
    Status status = Conclude(format, response);
    GrpcOutput reply;
    if (status.ok()) reply = EncodeGrpcReply(kind, format, response);
    if (trace != nullptr) trace->Mark(TracePoint::kGrpcSendStart, models.node().Now());
    call_->OnThread([self = this->shared_from_this(), status = std::move(status),
                     reply = std::move(reply), retry_after = response.retry_after] {
      self->call_->Answered(self, status, reply, retry_after);
    });
  }

  const InferReplyFormat format;
  const GrpcReply kind;
  RequestId id;
  Permit permit;
  TraceHandle trace;

 private:
  const std::shared_ptr<Call> call_;
};

class UnaryInferCall final : public GrpcCall {
 public:
  using Request = InFlight<UnaryInferCall>;

  UnaryInferCall(std::shared_ptr<GrpcConnection> connection, GrpcHead head)
      : GrpcCall(std::move(connection), std::move(head)), awaited_(TraceTime(models())) {
    NeedOneMessage();
  }

  ModelService& models() const { return shared().models; }
  void Expect() { ExpectLater(); }
  void OnThread(std::function<void()> work) { Later(std::move(work)); }

  void Answered(const std::shared_ptr<Request>& request, const Status& status,
                const GrpcOutput& reply, Duration retry_after) {
    request_.reset();
    if (status.ok()) Send(reply, std::move(request->trace));
    Finish(status, retry_after);
  }

 private:
  void OnMessage(GrpcInput input) override {
    const TimePoint read = TraceTime(models());
    const auto message = GrpcInferMessage::Parse(input, shared().options.message_bytes);
    if (!message) return Finish(message.error());
    Result<InferCall> call = DecodeGrpcInfer(*message, models());
    if (!call) return Finish(call.error());
    TraceHandle trace = StartTrace(models(), *call, awaited_, read);
    call->request.call_timeout = TimeLeft();
    request_ =
        std::make_shared<Request>(std::static_pointer_cast<UnaryInferCall>(shared_from_this()),
                                  std::move(call->format), GrpcReply::kUnary);
    request_->trace = std::move(trace);
    request_->Submit(models(), std::move(call->request));
  }
  void OnCancelled() override {
    if (request_ != nullptr) models().node().Cancel(request_->id);
  }

  const TimePoint awaited_;
  std::shared_ptr<Request> request_;  // in the node
};

class StreamInferCall final : public GrpcCall {
 public:
  using Request = InFlight<StreamInferCall>;

  StreamInferCall(std::shared_ptr<GrpcConnection> connection, GrpcHead head)
      : GrpcCall(std::move(connection), std::move(head)), awaited_(TraceTime(models())) {}

  ModelService& models() const { return shared().models; }
  void Expect() { ExpectLater(); }
  void OnThread(std::function<void()> work) { Later(std::move(work)); }

  void Answered(const std::shared_ptr<Request>& request, const Status& status,
                const GrpcOutput& reply, Duration /*retry_after*/) {
    in_flight_.erase(request);
    request->permit.reset();
    if (status.ok()) {
      Send(reply, std::move(request->trace));
    } else {
      SendError(request->format.id, status, std::move(request->trace));
    }
    Proceed();
  }

 private:
  void OnMessage(GrpcInput input) override {
    if (ending_) return;
    const TimePoint read = TraceTime(models());
    const TimePoint awaited = std::exchange(awaited_, read);
    const auto message = GrpcInferMessage::Parse(input, shared().options.message_bytes);
    Duration retry_after{0};
    Result<Permit> admitted = shared().options.access.Admit(
        Scope::kInfer, head().authorization, std::chrono::steady_clock::now(), retry_after);
    Result<InferCall> call = !message    ? Result<InferCall>(Error(message.error()))
                             : !admitted ? Result<InferCall>(Error(admitted.error()))
                                         : DecodeGrpcInfer(*message, models());
    if (!call) {
      SendError(message ? (**message)->id() : std::string(), call.error());
      return Proceed();
    }
    // A request has one answer; marked as the last it needs no empty one behind it, which clients
    // would count.
    const GrpcReply kind = FlagOf(***message, "triton_enable_empty_final_response")
                               ? GrpcReply::kFinal
                               : GrpcReply::kStream;
    TraceHandle trace = StartTrace(models(), *call, awaited, read);
    auto request =
        std::make_shared<Request>(std::static_pointer_cast<StreamInferCall>(shared_from_this()),
                                  std::move(call->format), kind);
    request->trace = std::move(trace);
    request->permit = std::move(*admitted);
    call->request.call_timeout = TimeLeft();
    in_flight_.insert(request);
    request->Submit(models(), std::move(call->request));
    Proceed();
  }
  void OnLastMessage() override {
    ending_ = true;
    Proceed();
  }
  void OnDrain() override {
    if (!ending_) end_ = Status(StatusCode::kUnavailable, "the server is shutting down");
    ending_ = true;
    Proceed();
  }
  void OnCancelled() override {
    ending_ = true;
    const auto requests = in_flight_;
    for (const auto& request : requests) models().node().Cancel(request->id);
  }

  void SendError(const std::string& id, const Status& status, TraceHandle trace = nullptr) {
    if (!head().wants_real_codes) {
      return Send(EncodeGrpcStreamError(id, status), std::move(trace));
    }
    if (!ending_) end_ = status;
    ending_ = true;
  }

  void Proceed() {
    PauseReading(in_flight_.size() + unsent() >= kMaxOpenRequests);
    if (ending_ && in_flight_.empty()) Finish(end_);
  }

  bool ending_ = false;  // no more requests are taken
  Status end_;
  TimePoint awaited_;  // the next message, while requests may be traced
  std::unordered_set<std::shared_ptr<Request>> in_flight_;
};

template <typename Call>
std::shared_ptr<GrpcCall> MakeCall(std::shared_ptr<GrpcConnection> connection, GrpcHead head) {
  return std::make_shared<Call>(std::move(connection), std::move(head));
}

}  // namespace

void AddInferMethods(GrpcShared& shared) {
  shared.methods["/inference.GRPCInferenceService/ModelInfer"] = {.scope = Scope::kInfer,
                                                                  .make = MakeCall<UnaryInferCall>};
  shared.methods["/inference.GRPCInferenceService/ModelStreamInfer"] = {
      .scope = Scope::kInfer, .admits_messages = true, .make = MakeCall<StreamInferCall>};
}

}  // namespace duly
