// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_control.h"

#include <memory>

namespace duly {
namespace {

class ControlCall final : public GrpcCall {
 public:
  ControlCall(std::shared_ptr<GrpcConnection> connection, GrpcHead head, const GrpcAnswer& answer,
              WorkThread* thread)
      : GrpcCall(std::move(connection), std::move(head)), answer_(answer), thread_(thread) {
    NeedOneMessage();
  }

 private:
  void OnMessage(GrpcInput message) override {
    if (thread_ == nullptr) return Reply(answer_(message));
    ExpectLater();
    thread_->Post([self = std::static_pointer_cast<ControlCall>(shared_from_this()),
                   message = std::move(message)]() mutable {
      auto reply = std::make_shared<const Result<GrpcOutput>>(self->answer_(message));
      self->Later([call = self.get(), reply] { call->Reply(*reply); });
    });
  }

  void Reply(const Result<GrpcOutput>& reply) {
    if (!reply) return Finish(reply.error());
    Send(*reply);
    Finish(Status());
  }

  const GrpcAnswer& answer_;
  WorkThread* const thread_;
};

}  // namespace

void AddControlMethod(GrpcShared& shared, std::string path, Scope scope, GrpcAnswer answer,
                      WorkThread* thread) {
  // The method outlives its calls.
  auto kept = std::make_shared<const GrpcAnswer>(std::move(answer));
  shared.methods[std::move(path)] = {
      .scope = scope,
      .make = [kept, thread](std::shared_ptr<GrpcConnection> connection,
                             GrpcHead head) -> std::shared_ptr<GrpcCall> {
        return std::make_shared<ControlCall>(std::move(connection), std::move(head), *kept, thread);
      }};
}

}  // namespace duly
