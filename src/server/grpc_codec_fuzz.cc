// SPDX-License-Identifier: Apache-2.0
//
// Inference requests over gRPC, from the bytes of the message on, compressed or not. What is
// accepted is answered by a node that copies, and the answer has the tensors.
#include "server/grpc_codec.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "server/fake_node_test_util.h"
#include "server/grpc_message.h"
#include "server/grpc_message_test_util.h"
#include "server/infer_fuzz_test_util.h"

namespace duly {
namespace {

constexpr std::size_t kMostMessageBytes = std::size_t{1} << 20;

struct World {
  World() { google::protobuf::SetLogHandler(nullptr); }

  FakeNode node{TestModels()};
  ModelService service{node};
};

void CheckAnswer(const InferCall& call) {
  InferResponse response = FakeNode::Echo(call.request);
  if (!Conclude(call.format, response).ok()) return;
  grpc::ByteBuffer bytes = EncodeGrpcReply(GrpcReply::kUnary, call.format, response);
  inference::ModelInferResponse answer;
  DULY_CHECK(ReadMessage(bytes, std::size_t{1} << 30, answer).ok());
  DULY_CHECK(answer.id() == call.format.id);
  const auto count = static_cast<int>(response.outputs.size());
  DULY_CHECK(answer.outputs_size() == count && answer.raw_output_contents_size() == count);
  for (int i = 0; i < count; ++i) {
    const Tensor& tensor = response.outputs[static_cast<std::size_t>(i)];
    DULY_CHECK(answer.outputs(i).name() == tensor.name);
    const std::string& data = answer.raw_output_contents(i);
    DULY_CHECK(data.size() == tensor.data.size());
    DULY_CHECK(data.empty() ||
               std::memcmp(data.data(), tensor.data.data().data(), data.size()) == 0);
  }
}

void Read(const World& world, grpc_compression_algorithm compression, std::string_view text,
          std::size_t slice_bytes) {
  grpc::ByteBuffer bytes = Received(compression, text, slice_bytes);
  const auto message = GrpcInferMessage::Parse(bytes, kMostMessageBytes);
  DULY_CHECK(!bytes.Valid());
  if (!message) return CheckRefused(message.error());
  const Result<InferCall> call = DecodeGrpcInfer(*message, world.service);
  if (!call) return CheckRefused(call.error());
  CheckAccepted(*call);
  CheckAnswer(*call);
}

}  // namespace
}  // namespace duly

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const duly::World& world = *new duly::World;
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string_view text = input.substr(2);
  const std::size_t slice_bytes = 1 + data[1];
  grpc_compression_algorithm compression = GRPC_COMPRESS_NONE;
  std::string message;
  switch (input[0] % 4) {
    case 0:  // '0': the message as it is on the wire
      break;
    case 1:
      compression = GRPC_COMPRESS_DEFLATE;
      break;
    case 2:
      compression = GRPC_COMPRESS_GZIP;
      break;
    default: {  // '3': the message as text, as a person can write it
      google::protobuf::TextFormat::Parser parser;
      struct Silent final : google::protobuf::io::ErrorCollector {
        void AddError(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
      } silent;
      parser.RecordErrorsTo(&silent);
      parser.SetRecursionLimit(20);
      inference::ModelInferRequest request;
      if (!parser.ParseFromString(std::string(text), &request)) return 0;
      message = request.SerializeAsString();
      text = message;
    }
  }
  duly::Read(world, compression, text, slice_bytes);
  return 0;
}
