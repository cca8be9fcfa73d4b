// SPDX-License-Identifier: Apache-2.0
//
// A closed-loop client of the Open Inference Protocol over gRPC, beside http_client: so many calls
// in flight on one channel, each followed by the next when its answer has come. The message is made
// once and sent as bytes, and answers are dropped: about as cheap as a gRPC client can be.
// Prints JSON: rate and latency percentiles of the run with the median rate, and the rates of all.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <inference.grpc.pb.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "closed_loop.h"
#include "shared_tensors.h"

namespace duly {
namespace {

struct Settings {
  ClosedLoop loop;
  std::string address = "127.0.0.1:8001";
  std::string model = "copy";
  std::size_t elements = 16;
};

void PutIn(const SharedTensors& shared, std::size_t offset,
           google::protobuf::Map<std::string, inference::InferParameter>& parameters) {
  parameters["shared_memory_region"].set_string_param(shared.name());
  parameters["shared_memory_offset"].set_int64_param(static_cast<std::int64_t>(offset));
  parameters["shared_memory_byte_size"].set_int64_param(
      static_cast<std::int64_t>(shared.tensor_bytes()));
}

// Of one call, of those that share the region if there is one.
grpc::ByteBuffer MakeRequest(const Settings& settings, const std::vector<float>& values,
                             const std::optional<SharedTensors>& shared, std::size_t call) {
  inference::ModelInferRequest request;
  request.set_model_name(settings.model);
  inference::ModelInferRequest::InferInputTensor& input = *request.add_inputs();
  input.set_name("in0");
  input.set_datatype("FP32");
  input.add_shape(1);
  input.add_shape(static_cast<std::int64_t>(settings.elements));
  if (shared) {
    PutIn(*shared, 0, *input.mutable_parameters());
    inference::ModelInferRequest::InferRequestedOutputTensor& output = *request.add_outputs();
    output.set_name("out0");
    PutIn(*shared, shared->OutputAt(call), *output.mutable_parameters());
  } else {
    request.add_raw_input_contents(values.data(), values.size() * sizeof(float));
  }
  const grpc::Slice slice(request.SerializeAsString());
  return {&slice, 1};
}

class Client {
 public:
  explicit Client(const Settings& settings) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    channel_ =
        grpc::CreateCustomChannel(settings.address, grpc::InsecureChannelCredentials(), arguments);
    stub_ = std::make_unique<grpc::GenericStub>(channel_);
    const std::size_t calls = settings.loop.concurrency;
    const std::vector<float> values = RandomInput(settings.elements);
    if (settings.loop.shared_memory) shared_.emplace(values, calls);
    for (std::size_t call = 0; call < calls; ++call) {
      requests_.push_back(MakeRequest(settings, values, shared_, call));
    }
  }

  Status RegisterSharedMemory() {
    if (!shared_) return Status();
    inference::SystemSharedMemoryRegisterRequest request;
    request.set_name(shared_->name());
    request.set_key(shared_->key());
    request.set_byte_size(shared_->size_bytes());
    inference::SystemSharedMemoryRegisterResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        inference::GRPCInferenceService::NewStub(channel_)->SystemSharedMemoryRegister(
            &context, request, &response);
    return status.ok() ? Status() : Status(StatusCode::kInternal, status.error_message());
  }
  Status CheckSharedMemory() const { return shared_ ? shared_->Check() : Status(); }

  Status Drive(ClosedLoop::Clock::time_point deadline, std::vector<Duration>& latencies) {
    for (std::size_t number = 0; number < requests_.size(); ++number) Begin(number);
    Status failure;
    for (std::size_t busy = requests_.size(); busy > 0;) {
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
      Begin(call->number);
      ++busy;
    }
    return failure;
  }

 private:
  struct Call {
    std::size_t number = 0;
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
    grpc::ByteBuffer answer;
    grpc::Status status;
    ClosedLoop::Clock::time_point begun;
  };

  void Begin(std::size_t number) {
    auto* const call = new Call;
    call->number = number;
    call->begun = ClosedLoop::Clock::now();
    call->reader = stub_->PrepareUnaryCall(
        &call->context, "/inference.GRPCInferenceService/ModelInfer", requests_[number], &queue_);
    call->reader->StartCall();
    call->reader->Finish(&call->answer, &call->status, call);
  }

  std::vector<grpc::ByteBuffer> requests_;  // one for each call in flight
  std::optional<SharedTensors> shared_;
  std::shared_ptr<grpc::Channel> channel_;
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
  const auto fail = [](const Status& status) {
    std::cerr << status.message() << '\n';
    return 1;
  };
  if (const Status status = client.RegisterSharedMemory(); !status.ok()) return fail(status);
  const int exit_status = RunClosedLoop(
      settings.loop,
      {{"address", settings.address},
       {"model", settings.model},
       {"tensor_bytes", settings.elements * sizeof(float)},
       {"format", settings.loop.shared_memory ? "shared memory" : "raw"}},
      [&client](ClosedLoop::Clock::time_point deadline, std::vector<Duration>& latencies) {
        return client.Drive(deadline, latencies);
      });
  if (exit_status != 0) return exit_status;
  const Status status = client.CheckSharedMemory();
  return status.ok() ? 0 : fail(status);
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) { return duly::Main(argc, argv); }
