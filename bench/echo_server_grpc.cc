// SPDX-License-Identifier: Apache-2.0
//
// The base for gRPC: a bare server that sends every message back as it came, whatever the method,
// on the same stack as Duly's: completion queues, one thread each, bytes instead of messages.
// Prints its port.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <thread>
#include <vector>

namespace {

// One call, from its arrival to its end; deletes itself.
class Call {
 public:
  static void Await(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue) {
    auto* const call = new Call(service, queue);
    service.RequestCall(&call->context_, &call->stream_, &queue, &queue, call);
  }

  void Proceed(bool ok) {
    if (!ok || step_ == Step::kWrite) {
      delete this;
    } else if (step_ == Step::kAccept) {
      Await(service_, queue_);
      step_ = Step::kRead;
      stream_.Read(&message_, this);
    } else {
      step_ = Step::kWrite;
      stream_.WriteAndFinish(message_, {}, grpc::Status::OK, this);
    }
  }

 private:
  enum class Step { kAccept, kRead, kWrite };

  Call(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue)
      : service_(service), queue_(queue) {}

  grpc::AsyncGenericService& service_;
  grpc::ServerCompletionQueue& queue_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  grpc::ByteBuffer message_;
  Step step_ = Step::kAccept;
};

void Serve(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue) {
  for (int i = 0; i < 16; ++i) Call::Await(service, queue);
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) static_cast<Call*>(tag)->Proceed(ok);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 2;
  CLI::App app("gRPC server that sends every message back.");
  app.add_option("--threads", threads, "Completion queues (2)")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterAsyncGenericService(&service);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (int i = 0; i < threads; ++i) queues.push_back(builder.AddCompletionQueue());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::cout << port << std::endl;
  std::vector<std::jthread> running;
  for (const auto& queue : queues) running.emplace_back([&] { Serve(service, *queue); });
}
