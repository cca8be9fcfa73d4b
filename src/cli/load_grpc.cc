// SPDX-License-Identifier: Apache-2.0
#include "cli/load_grpc.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <inference.grpc.pb.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "cli/load_answer.h"
#include "cli/load_worker.h"
#include "workload/inputs.h"

namespace duly {
namespace {

constexpr Duration kAnswerTimeout = std::chrono::seconds(10);
constexpr const char* kInfer = "/inference.GRPCInferenceService/ModelInfer";

using inference::InferParameter;
using inference::ModelInferRequest;
using inference::ModelInferResponse;

std::shared_ptr<grpc::Channel> NewChannel(const GrpcEndpoint& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // Else all channels to an address share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (endpoint.is_secure) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = endpoint.access.tls_ca;
    credentials = grpc::SslCredentials(options);
  }
  return grpc::CreateCustomChannel(endpoint.address, credentials, arguments);
}

void AddToken(const GrpcEndpoint& endpoint, grpc::ClientContext& context) {
  if (endpoint.access.token.empty()) return;
  context.AddMetadata("authorization", "Bearer " + endpoint.access.token);
}

Status StatusOf(const grpc::Status& status, std::string_view what) {
  const StatusCode code = status.error_code() == grpc::StatusCode::NOT_FOUND
                              ? StatusCode::kNotFound
                              : StatusCode::kUnavailable;
  return Status(code, fmt::format("{}: {}", what, status.error_message()));
}

template <typename Said>
Result<std::vector<TensorSpec>> TensorsFrom(const Said& said) {
  std::vector<TensorSpec> tensors;
  for (const auto& one : said) {
    const std::optional<DataType> type = ParseDataType(one.datatype());
    if (!type) {
      return Error(StatusCode::kInternal, "the server's answer is not a model's metadata");
    }
    tensors.push_back({one.name(), *type, Shape(one.shape().begin(), one.shape().end())});
  }
  return tensors;
}

double NumberOf(const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kInt64Param:
      return static_cast<double>(parameter.int64_param());
    case InferParameter::kUint64Param:
      return static_cast<double>(parameter.uint64_param());
    case InferParameter::kDoubleParam:
      return parameter.double_param();
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

// An answer that outlives its message.
struct GrpcAnswer {
  AnswerNumbers numbers;
  std::string variant;
  std::string device;
};

GrpcAnswer ReadAnswer(const ModelInferResponse& response, const LoadTarget& target,
                      std::uint32_t sequence) {
  GrpcAnswer answer;
  AnswerNumbers& numbers = answer.numbers;
  if (target.wants_report) {
    const auto& parameters = response.parameters();
    const auto number = [&](const char* name) {
      const auto found = parameters.find(name);
      return found == parameters.end() ? std::numeric_limits<double>::quiet_NaN()
                                       : NumberOf(found->second);
    };
    const auto text = [&](const char* name) {
      const auto found = parameters.find(name);
      return found == parameters.end() ? std::string() : found->second.string_param();
    };
    numbers.queue_us = static_cast<float>(number("queue_us"));
    numbers.compute_us = static_cast<float>(number("compute_us"));
    numbers.predicted_us = static_cast<float>(number("predicted_us"));
    numbers.accuracy_pct = static_cast<float>(number("accuracy"));
    if (const double rows = number("batch_rows"); rows >= 0 && rows < 4e9) {
      numbers.batch_rows = static_cast<std::uint32_t>(rows);
    }
    answer.variant = text("variant");
    answer.device = text("device");
  }
  if (!target.expected) return answer;
  numbers.checked_rows = target.rows;
  for (int i = 0; i < std::min(response.outputs_size(), response.raw_output_contents_size()); ++i) {
    const std::optional<DataType> type = ParseDataType(response.outputs(i).datatype());
    if (response.outputs(i).name() != target.expected->output || !type) continue;
    numbers.correct_rows = static_cast<std::uint32_t>(workload::CountCorrect(
        *target.expected, target.FirstRow(sequence), target.rows, target.expected_rows, *type,
        std::as_bytes(std::span(response.raw_output_contents(i)))));
  }
  return answer;
}

class GrpcWorker final : public LoadWorker {
 public:
  GrpcWorker(const GrpcEndpoint& endpoint, LoadShared& shared, std::uint32_t index)
      : LoadWorker(shared, index),
        is_first_(index == 0),
        endpoint_(endpoint),
        channel_(NewChannel(endpoint)),
        stub_(channel_) {}

  std::size_t connections_opened() const override { return 1; }

 private:
  struct Call {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer answer;
  };

  void Send(std::uint32_t request) override DULY_EXCLUDES(mutex_);
  void Cancel(std::uint32_t request) override DULY_EXCLUDES(mutex_);
  void Close() override DULY_EXCLUDES(mutex_);
  // gRPC's threads work for all workers.
  double CpuSeconds() const override { return is_first_ ? CpuSecondsOf(RUSAGE_SELF) : 0; }
  // In a thread of gRPC's.
  void Ended(std::uint32_t request, const grpc::Status& status) DULY_EXCLUDES(mutex_);

  const bool is_first_;
  const GrpcEndpoint& endpoint_;
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  std::vector<iovec> parts_;

  // Guards what is recorded, too: answers come in gRPC's threads.
  Mutex mutex_;
  std::condition_variable_any all_ended_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Call>> calls_ DULY_GUARDED_BY(mutex_);
  bool closed_ DULY_GUARDED_BY(mutex_) = false;
};

void GrpcWorker::Send(std::uint32_t request) {
  const workload::Arrival& arrival = shared_.schedule[request];
  target(request).Gather(arrival.sequence, parts_);
  std::vector<grpc::Slice> slices;
  slices.reserve(parts_.size());
  for (const iovec& part : parts_) {
    // Targets outlive the run.
    slices.emplace_back(part.iov_base, part.iov_len, grpc::Slice::STATIC_SLICE);
  }
  auto owned = std::make_unique<Call>();
  Call& call = *owned;
  call.request = grpc::ByteBuffer(slices.data(), slices.size());
  AddToken(endpoint_, call.context);
  {
    const MutexLock lock(mutex_);
    record(request).send_lateness = shared_.Now() - arrival.at;
    calls_.emplace(request, std::move(owned));
  }
  stub_.UnaryCall(&call.context, kInfer, grpc::StubOptions(), &call.request, &call.answer,
                  [this, request](const grpc::Status& status) { Ended(request, status); });
}

void GrpcWorker::Cancel(std::uint32_t request) {
  const MutexLock lock(mutex_);
  if (!End(request, Outcome::kCancelled)) return;
  if (const auto call = calls_.find(request); call != calls_.end()) {
    call->second->context.TryCancel();
  }
}

void GrpcWorker::Ended(std::uint32_t request, const grpc::Status& status) {
  const Duration now = shared_.Now();
  const LoadTarget& from = target(request);
  const workload::Arrival& arrival = shared_.schedule[request];
  Call* call = nullptr;
  {
    const MutexLock lock(mutex_);
    call = calls_.at(request).get();
  }
  std::optional<GrpcAnswer> answer;
  if (status.ok()) {
    ModelInferResponse response;
    if (!from.wants_report && !from.expected) {
      answer.emplace();
    } else if (grpc::SerializationTraits<ModelInferResponse>::Deserialize(&call->answer, &response)
                   .ok()) {
      answer = ReadAnswer(response, from, arrival.sequence);
    }
  }
  // A connection that broke is no refusal.
  const bool reached = channel_->GetState(false) == GRPC_CHANNEL_READY;

  const MutexLock lock(mutex_);
  LoadRecord& record = this->record(request);
  if (!closed_ && !record.outcome) {
    record.latency = now - arrival.at;
    switch (status.error_code()) {
      case grpc::StatusCode::OK:
        record.status = 200;
        break;
      case grpc::StatusCode::RESOURCE_EXHAUSTED:
        record.status = 503;
        break;
      case grpc::StatusCode::UNAVAILABLE:
        record.status = reached ? 503 : 0;
        break;
      case grpc::StatusCode::DEADLINE_EXCEEDED:
        record.status = 504;
        break;
      default:
        record.status = 500;
    }
    Outcome outcome = ClassifyAnswer(record.status, record.latency, from.slo);
    if (record.status == 0) record.latency = Duration(0);
    if (answer) {
      record.numbers = answer->numbers;
      record.variant = Name(answer->variant);
      record.device = Name(answer->device);
    } else if (status.ok()) {
      record.detail = Name("the answer is not an inference response");
      outcome = Outcome::kFailed;
    } else if (outcome != Outcome::kExpired) {
      record.detail = Name(status.error_message());
    }
    End(request, outcome);
  }
  calls_.erase(request);
  if (idle()) Wake();
  if (calls_.empty()) all_ended_.notify_all();
}

void GrpcWorker::Close() {
  const MutexLock lock(mutex_);
  closed_ = true;
  for (const auto& [request, call] : calls_) call->context.TryCancel();
  while (!calls_.empty()) all_ended_.wait(mutex_);
}

class GrpcLoadServer final : public LoadServer {
 public:
  GrpcLoadServer(GrpcEndpoint endpoint, std::shared_ptr<grpc::Channel> channel)
      : endpoint_(std::move(endpoint)), channel_(std::move(channel)) {}

  Result<ModelTensors> TensorsOf(const std::string& model) const override {
    inference::ModelMetadataRequest request;
    request.set_name(model);
    inference::ModelMetadataResponse response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kAnswerTimeout);
    AddToken(endpoint_, context);
    const grpc::Status status = inference::GRPCInferenceService::NewStub(channel_)->ModelMetadata(
        &context, request, &response);
    if (!status.ok()) return Error(StatusOf(status, "metadata of model '" + model + "'"));
    ModelTensors tensors;
    DULY_ASSIGN_OR_RETURN(tensors.inputs, TensorsFrom(response.inputs()));
    DULY_ASSIGN_OR_RETURN(tensors.outputs, TensorsFrom(response.outputs()));
    return tensors;
  }

  void Encode(const LoadRequest& request, LoadTarget& target) const override {
    ModelInferRequest message;
    message.set_model_name(request.model);
    for (const auto& [key, value] : request.parameters) {
      InferParameter& parameter = (*message.mutable_parameters())[key];
      if (const auto* flag = std::get_if<bool>(&value)) parameter.set_bool_param(*flag);
      if (const auto* whole = std::get_if<std::int64_t>(&value)) parameter.set_int64_param(*whole);
      if (const auto* real = std::get_if<double>(&value)) parameter.set_double_param(*real);
      if (const auto* text = std::get_if<std::string>(&value)) parameter.set_string_param(*text);
    }
    for (std::size_t i = 0; i < request.inputs.size(); ++i) {
      const LoadRequest::Input& input = request.inputs[i];
      auto& tensor = *message.add_inputs();
      tensor.set_name(input.name);
      tensor.set_datatype(std::string(ToString(input.type)));
      for (const std::int64_t dimension : input.shape) tensor.add_shape(dimension);
      // The last field of the message, so that the data can follow what comes before it.
      target.inputs[i].prefix = RawContentsOf(input.bytes);
    }
    target.head = message.SerializeAsString();
  }

  std::unique_ptr<LoadWorker> MakeWorker(LoadShared& shared, std::uint32_t index) const override {
    return std::make_unique<GrpcWorker>(endpoint_, shared, index);
  }

 private:
  // Key and length of an element of raw_input_contents.
  static std::string RawContentsOf(std::size_t bytes) {
    using google::protobuf::internal::WireFormatLite;
    std::string text;
    google::protobuf::io::StringOutputStream stream(&text);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.WriteTag(WireFormatLite::MakeTag(ModelInferRequest::kRawInputContentsFieldNumber,
                                         WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
    out.WriteVarint32(static_cast<std::uint32_t>(bytes));
    out.Trim();
    return text;
  }

  const GrpcEndpoint endpoint_;
  const std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace

Result<std::unique_ptr<LoadServer>> FindGrpcServer(GrpcEndpoint endpoint, Duration timeout) {
  std::shared_ptr<grpc::Channel> channel = NewChannel(endpoint);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + timeout)) {
    return Error(StatusCode::kUnavailable, "grpc{}://{}: no connection within {:g} s{}",
                 endpoint.is_secure ? "s" : "", endpoint.address, ToSeconds(timeout),
                 endpoint.is_secure ? ": does the server's certificate name this host, and does "
                                      "--tls-ca have who signed it?"
                                    : "");
  }
  return std::make_unique<GrpcLoadServer>(std::move(endpoint), std::move(channel));
}

}  // namespace duly
