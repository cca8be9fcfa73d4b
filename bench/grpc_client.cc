// SPDX-License-Identifier: Apache-2.0
//
// A closed-loop client of the Open Inference Protocol over gRPC, beside http_client: so many calls
// in flight on one channel, each followed by the next when its answer has come. The message is made
// once and sent as bytes, and answers are dropped: about as cheap as a gRPC client can be.
// Prints JSON: rate and latency percentiles of the run with the median rate, and the rates of all.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <inference.pb.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "closed_loop.h"

namespace duly {
namespace {

struct Settings {
  ClosedLoop loop;
  std::string address = "127.0.0.1:8001";
  std::string model = "copy";
  std::size_t elements = 16;
};

grpc::ByteBuffer MakeRequest(const Settings& settings) {
  RandomStream random(1, "bench/input");
  std::vector<float> values(settings.elements);
  for (float& value : values) value = static_cast<float>(random.Uniform());
  inference::ModelInferRequest request;
  request.set_model_name(settings.model);
  inference::ModelInferRequest::InferInputTensor& input = *request.add_inputs();
  input.set_name("in0");
  input.set_datatype("FP32");
  input.add_shape(1);
  input.add_shape(static_cast<std::int64_t>(settings.elements));
  request.add_raw_input_contents(values.data(), values.size() * sizeof(float));
  const grpc::Slice slice(request.SerializeAsString());
  return {&slice, 1};
}

class Client {
 public:
  explicit Client(const Settings& settings)
      : request_(MakeRequest(settings)), concurrency_(settings.loop.concurrency) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    stub_ = std::make_unique<grpc::GenericStub>(
        grpc::CreateCustomChannel(settings.address, grpc::InsecureChannelCredentials(), arguments));
  }

  Status Drive(ClosedLoop::Clock::time_point deadline, std::vector<Duration>& latencies) {
    for (std::size_t i = 0; i < concurrency_; ++i) Begin();
    Status failure;
    for (std::size_t busy = concurrency_; busy > 0;) {
      void* tag = nullptr;
      bool ok = false;
      queue_.Next(&tag, &ok);
      const std::unique_ptr<Call> call(static_cast<Call*>(tag));
      --busy;
      if (!call->status.ok()) {
        failure = Status(StatusCode::kUnavailable, call->status.error_message());
      }
      const ClosedLoop::Clock::time_point now = ClosedLoop::Clock::now();
      if (now >= deadline || !failure.ok()) continue;
      latencies.push_back(now - call->begun);
      Begin();
      ++busy;
    }
    return failure;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
    grpc::ByteBuffer answer;
    grpc::Status status;
    ClosedLoop::Clock::time_point begun;
  };

  void Begin() {
    auto* const call = new Call;
    call->begun = ClosedLoop::Clock::now();
    call->reader = stub_->PrepareUnaryCall(
        &call->context, "/inference.GRPCInferenceService/ModelInfer", request_, &queue_);
    call->reader->StartCall();
    call->reader->Finish(&call->answer, &call->status, call);
  }

  const grpc::ByteBuffer request_;
  const std::size_t concurrency_;
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::CompletionQueue queue_;
};

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Closed-loop benchmark client of an inference server over gRPC.");
  app.add_option("--address", settings.address, "Server (127.0.0.1:8001)");
  app.add_option("--model", settings.model, "Takes one row of FP32 numbers (copy)");
  app.add_option("--elements", settings.elements, "Numbers per request (16)")
      ->check(CLI::PositiveNumber);
  AddClosedLoop(app, settings.loop);
  app.footer("Example:\n  grpc_client --model copy --elements 150528 --concurrency 4");
  CLI11_PARSE(app, argc, argv);
  Client client(settings);
  return RunClosedLoop(
      settings.loop,
      {{"address", settings.address},
       {"model", settings.model},
       {"tensor_bytes", settings.elements * sizeof(float)}},
      [&client](ClosedLoop::Clock::time_point deadline, std::vector<Duration>& latencies) {
        return client.Drive(deadline, latencies);
      });
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) { return duly::Main(argc, argv); }
