// SPDX-License-Identifier: Apache-2.0
//
// Inference requests over gRPC, from the bytes of the message on, compressed or not. What is
// accepted is answered by a node that copies, and the answer has the tensors.
#include "server/grpc_codec.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "server/fake_node_test_util.h"
#include "server/grpc_message.h"
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
  std::string bytes;
  for (const Buffer& piece : EncodeGrpcReply(GrpcReply::kUnary, call.format, response)) {
    bytes.append(reinterpret_cast<const char*>(piece.data().data()), piece.size());
  }
  inference::ModelInferResponse answer;
  DULY_CHECK(answer.ParseFromString(bytes));
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

void Read(const World& world, GrpcCoding coding, std::string_view text) {
  GrpcInput input{Buffer::CopyOf(std::as_bytes(std::span(text))), coding};
  const auto message = GrpcInferMessage::Parse(input, kMostMessageBytes);
  DULY_CHECK(input.bytes.size() == 0);
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
  duly::GrpcCoding coding = duly::GrpcCoding::kIdentity;
  std::string message;
  switch (input[0] % 4) {
    case 0:  // '0': the message as it is on the wire
      break;
    case 1:
      coding = duly::GrpcCoding::kDeflate;
      break;
    case 2:
      coding = duly::GrpcCoding::kGzip;
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
  duly::Read(world, coding, text);
  return 0;
}
