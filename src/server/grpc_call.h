// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>
#include <inference.grpc.pb.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/mutex.h"
#include "server/access.h"
#include "server/grpc_codec.h"
#include "server/model_service.h"

namespace duly {

using InferenceService = inference::GRPCInferenceService;

template <typename Base, template <typename> typename... Methods>
struct RawService : Base {};
template <typename Base, template <typename> typename First, template <typename> typename... Rest>
struct RawService<Base, First, Rest...> : RawService<First<Base>, Rest...> {};

// All messages are read as bytes: tensors need not be copied, and what a compressed message becomes
// is bounded (ReadMessage).
using GrpcService = RawService<
    InferenceService::AsyncService, InferenceService::WithRawMethod_ServerLive,
    InferenceService::WithRawMethod_ServerReady, InferenceService::WithRawMethod_ModelReady,
    InferenceService::WithRawMethod_ServerMetadata, InferenceService::WithRawMethod_ModelMetadata,
    InferenceService::WithRawMethod_ModelInfer, InferenceService::WithRawMethod_ModelStreamInfer,
    InferenceService::WithRawMethod_ModelConfig, InferenceService::WithRawMethod_ModelStatistics,
    InferenceService::WithRawMethod_RepositoryIndex,
    InferenceService::WithRawMethod_RepositoryModelLoad,
    InferenceService::WithRawMethod_RepositoryModelUnload,
    InferenceService::WithRawMethod_SystemSharedMemoryStatus,
    InferenceService::WithRawMethod_SystemSharedMemoryRegister,
    InferenceService::WithRawMethod_SystemSharedMemoryUnregister,
    InferenceService::WithRawMethod_CudaSharedMemoryStatus,
    InferenceService::WithRawMethod_CudaSharedMemoryRegister,
    InferenceService::WithRawMethod_CudaSharedMemoryUnregister,
    InferenceService::WithRawMethod_TraceSetting, InferenceService::WithRawMethod_LogSettings>;

// What a completion queue hands back: the end of one operation.
class GrpcEvent {
 public:
  virtual ~GrpcEvent() = default;
  virtual void Complete(bool ok) = 0;
};

// The end of an operation of a call, which lives at least until then.
template <typename Call, void (Call::*kMethod)(bool)>
class CallEvent final : public GrpcEvent {
 public:
  // The tag for an operation that starts now.
  void* Arm(std::shared_ptr<Call> call) {
    call_ = std::move(call);
    return tag();
  }
  // gRPC takes this for a type of its own pointers.
  void* tag() { return static_cast<GrpcEvent*>(this); }
  void Complete(bool ok) override {
    const std::shared_ptr<Call> call = std::exchange(call_, nullptr);
    (call.get()->*kMethod)(ok);
  }

 private:
  std::shared_ptr<Call> call_;
};

// Counts the calls that still have something to send: their queues must outlive them.
class OpenCalls {
 public:
  void Add() {
    const MutexLock lock(mutex_);
    ++count_;
  }
  void Remove() {
    const MutexLock lock(mutex_);
    if (--count_ == 0) none_.notify_all();
  }
  void AwaitNone() {
    const MutexLock lock(mutex_);
    while (count_ > 0) none_.wait(mutex_);
  }

 private:
  Mutex mutex_;
  std::condition_variable_any none_;
  std::uint64_t count_ DULY_GUARDED_BY(mutex_) = 0;
};

class StreamCall;

// Whether the client of a call may make it, by its metadata `authorization`.
Status CheckAccess(const Access& access, Scope scope, const grpc::ServerContextBase& context);

// The same for a request that begins now: Access::Admit.
Result<Permit> Admit(const Access& access, Scope scope, const grpc::ServerContextBase& context,
                     Duration& retry_after);

// What all calls of a server share. Outlives them.
struct GrpcShared {
  GrpcShared(ModelService& model_service, std::size_t largest_message, Access allowed)
      : models(model_service), message_bytes(largest_message), access(std::move(allowed)) {}

  ModelService& models;
  const std::size_t message_bytes;
  const Access access;
  GrpcService service;
  OpenCalls open;
  Mutex mutex;
  bool draining DULY_GUARDED_BY(mutex) = false;
  std::unordered_set<std::shared_ptr<StreamCall>> streams DULY_GUARDED_BY(mutex);
};

// One ModelInfer. The queue of a call is served by one thread.
// Threading: on that thread, OnResponse excepted.
class UnaryCall final : public ResponseSink, public std::enable_shared_from_this<UnaryCall> {
 public:
  // Waits for the next call on the queue; each call lets the one after it in.
  static void Await(GrpcShared& shared, grpc::ServerCompletionQueue& queue);
  UnaryCall(GrpcShared& shared, grpc::ServerCompletionQueue& queue)
      : shared_(shared), queue_(queue) {}

  void OnResponse(InferResponse response) override;

 private:
  void OnAccepted(bool ok);
  void OnFinished(bool ok);
  void OnDone(bool ok);
  void Fail(const Status& status, Duration retry_after);

  GrpcShared& shared_;
  grpc::ServerCompletionQueue& queue_;
  grpc::ServerContext context_;
  grpc::ByteBuffer bytes_;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> writer_{&context_};
  Permit permit_;
  InferReplyFormat format_;
  RequestId request_;
  TimePoint awaited_{};  // while requests may be traced: since when
  TraceHandle trace_;
  CallEvent<UnaryCall, &UnaryCall::OnAccepted> accepted_;
  CallEvent<UnaryCall, &UnaryCall::OnFinished> finished_;
  CallEvent<UnaryCall, &UnaryCall::OnDone> done_;
};

// One ModelStreamInfer.
// Threading: events on the thread of its queue; answers and Drain from any thread.
class StreamCall final : public std::enable_shared_from_this<StreamCall> {
 public:
  static void Await(GrpcShared& shared, grpc::ServerCompletionQueue& queue);
  StreamCall(GrpcShared& shared, grpc::ServerCompletionQueue& queue)
      : shared_(shared), queue_(queue) {}

  // Reads no more; the stream ends when what it has read is answered.
  void Drain();

 private:
  // One request in flight.
  class Request;
  struct Outgoing {
    grpc::ByteBuffer message;
    TraceHandle trace;
  };

  void OnAccepted(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnFinished(bool ok);
  void OnDone(bool ok);

  void Take(TimePoint read_started);
  void Answered(const std::shared_ptr<Request>& request, InferResponse response);
  void Send(grpc::ByteBuffer message, TraceHandle trace = nullptr) DULY_REQUIRES(mutex_);
  void SendError(const std::string& id, const Status& status, TraceHandle trace = nullptr)
      DULY_REQUIRES(mutex_);
  // Nothing can be sent to the client any more.
  void Break() DULY_REQUIRES(mutex_);
  // Starts what can start: a write, a read, the end.
  void Proceed() DULY_REQUIRES(mutex_);

  GrpcShared& shared_;
  grpc::ServerCompletionQueue& queue_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_{&context_};
  bool real_codes_ = false;  // the client asked for failures to end the stream with their code

  Mutex mutex_;
  grpc::ByteBuffer incoming_;
  std::unordered_set<std::shared_ptr<Request>> in_flight_ DULY_GUARDED_BY(mutex_);
  std::deque<Outgoing> outgoing_ DULY_GUARDED_BY(mutex_);
  TraceHandle written_trace_ DULY_GUARDED_BY(mutex_);    // of what is being written
  TimePoint read_started_ DULY_GUARDED_BY(mutex_) = {};  // while requests may be traced
  grpc::Status end_ DULY_GUARDED_BY(mutex_);
  bool reading_ DULY_GUARDED_BY(mutex_) = false;
  bool writing_ DULY_GUARDED_BY(mutex_) = false;
  bool taking_ DULY_GUARDED_BY(mutex_) = false;   // a request is on its way to the node
  bool no_more_ DULY_GUARDED_BY(mutex_) = false;  // nothing will be read any more
  bool broken_ DULY_GUARDED_BY(mutex_) = false;   // nothing can be written any more
  bool finishing_ DULY_GUARDED_BY(mutex_) = false;
  CallEvent<StreamCall, &StreamCall::OnAccepted> accepted_;
  CallEvent<StreamCall, &StreamCall::OnRead> read_;
  CallEvent<StreamCall, &StreamCall::OnWritten> written_;
  CallEvent<StreamCall, &StreamCall::OnFinished> finished_;
  CallEvent<StreamCall, &StreamCall::OnDone> done_;
};

// Any other unary call: answered at once, or on a thread for what takes long.
class ControlCall final : public GrpcEvent {
 public:
  using Writer = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;
  using Request = void (GrpcService::*)(grpc::ServerContext*, grpc::ByteBuffer*, Writer*,
                                        grpc::CompletionQueue*, grpc::ServerCompletionQueue*,
                                        void*);
  // From the call's message, which may be compressed, to the answer's.
  using Answer = std::function<Result<grpc::ByteBuffer>(grpc::ByteBuffer&)>;

  static void Await(GrpcShared& shared, grpc::ServerCompletionQueue& queue, Scope scope,
                    Request request, Answer answer, WorkThread* thread);
  void Complete(bool ok) override;

 private:
  ControlCall(GrpcShared& shared, grpc::ServerCompletionQueue& queue, Scope scope, Request request,
              Answer answer, WorkThread* thread)
      : shared_(shared),
        queue_(queue),
        scope_(scope),
        request_(request),
        answer_(std::move(answer)),
        thread_(thread) {}
  void Reply();

  GrpcShared& shared_;
  grpc::ServerCompletionQueue& queue_;
  const Scope scope_;
  const Request request_;
  const Answer answer_;
  WorkThread* const thread_;  // null: at once
  grpc::ServerContext context_;
  grpc::ByteBuffer bytes_;
  Writer writer_{&context_};
  Permit permit_;
  bool finishing_ = false;
};

}  // namespace duly
