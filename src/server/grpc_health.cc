// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_health.h"

#include <fmt/format.h>
#include <health.pb.h>

#include <optional>
#include <utility>

#include "server/grpc_control.h"

namespace duly {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

HealthCheckResponse::ServingStatus HealthStatus(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

class WatchCall final : public GrpcCall {
 public:
  WatchCall(std::shared_ptr<GrpcConnection> connection, GrpcHead head)
      : GrpcCall(std::move(connection), std::move(head)) {
    NeedOneMessage();
  }

 private:
  void OnMessage(GrpcInput message) override {
    HealthCheckRequest request;
    if (const Status read = ReadMessage(message, shared().options.message_bytes, request);
        !read.ok()) {
      return Finish(read);
    }
    if (!GrpcHealth::Knows(request.service())) {
      return Tell(HealthCheckResponse::SERVICE_UNKNOWN);
    }
    shared().health.Watch(this, [call = weak_from_this()](bool serving) {
      const auto watch = std::static_pointer_cast<WatchCall>(call.lock());
      if (watch == nullptr) return;
      watch->Soon([watch, serving] { watch->Tell(HealthStatus(serving)); });
    });
  }
  void OnCancelled() override { shared().health.Forget(this); }
  void OnDrain() override {
    shared().health.Forget(this);
    Tell(HealthCheckResponse::NOT_SERVING);
    Finish(Status(StatusCode::kUnavailable, "the server is shutting down"));
  }

  void Tell(HealthCheckResponse::ServingStatus status) {
    if (std::exchange(told_, status) == status) return;
    HealthCheckResponse response;
    response.set_status(status);
    Send(WriteMessage(response));
  }

  std::optional<HealthCheckResponse::ServingStatus> told_;
};

}  // namespace

void GrpcHealth::SetServing(bool serving) {
  const MutexLock lock(mutex_);
  serving_ = serving;
  for (const auto& [watcher, changed] : watchers_) changed(serving);
}

bool GrpcHealth::serving() const {
  const MutexLock lock(mutex_);
  return serving_;
}

void GrpcHealth::Watch(const void* watcher, std::function<void(bool)> changed) {
  const MutexLock lock(mutex_);
  changed(serving_);
  watchers_[watcher] = std::move(changed);
}

void GrpcHealth::Forget(const void* watcher) {
  const MutexLock lock(mutex_);
  watchers_.erase(watcher);
}

bool GrpcHealth::Knows(const std::string& service) {
  return service.empty() || service == "inference.GRPCInferenceService";
}

void AddHealthMethods(GrpcShared& shared) {
  AddMessageMethod(shared, "/grpc.health.v1.Health/Check", Scope::kNone,
                   [&shared](const HealthCheckRequest& request, HealthCheckResponse& reply) {
                     if (!GrpcHealth::Knows(request.service())) {
                       return Status(StatusCode::kNotFound,
                                     fmt::format("there is no service '{}'", request.service()));
                     }
                     reply.set_status(HealthStatus(shared.health.serving()));
                     return Status();
                   });
  shared.methods["/grpc.health.v1.Health/Watch"] = {
      .scope = Scope::kNone,
      .make = [](std::shared_ptr<GrpcConnection> connection,
                 GrpcHead head) -> std::shared_ptr<GrpcCall> {
        return std::make_shared<WatchCall>(std::move(connection), std::move(head));
      }};
}

}  // namespace duly
