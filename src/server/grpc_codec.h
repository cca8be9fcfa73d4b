// SPDX-License-Identifier: Apache-2.0
//
// Inference requests and answers in the messages of the Open Inference Protocol.
#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>
#include <inference.pb.h>

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "server/infer_call.h"
#include "server/model_service.h"

namespace duly {

// A request message with the memory that it lives in.
class GrpcInferMessage {
 public:
  // Empties `bytes`, which may be compressed; failures are those of ReadMessage.
  static Result<std::shared_ptr<const GrpcInferMessage>> Parse(grpc::ByteBuffer& bytes,
                                                               std::size_t limit);
  const inference::ModelInferRequest& operator*() const { return *message_; }
  const inference::ModelInferRequest* operator->() const { return message_; }

 private:
  google::protobuf::Arena arena_;
  inference::ModelInferRequest* message_ =
      google::protobuf::Arena::CreateMessage<inference::ModelInferRequest>(&arena_);
};

// Tensors of raw contents share the message's memory.
Result<InferCall> DecodeGrpcInfer(const std::shared_ptr<const GrpcInferMessage>& message,
                                  const ModelService& service);

enum class GrpcReply : std::uint8_t {
  kUnary,   // ModelInferResponse
  kStream,  // ModelStreamInferResponse
  kFinal,   // the same, and says that it is the request's last
};

// The answer to a request that was served (Conclude); the raw contents of outputs in shared memory
// are empty, so that the others keep their place. Large tensors are not copied: the buffer shares
// their memory.
grpc::ByteBuffer EncodeGrpcReply(GrpcReply kind, const InferReplyFormat& format,
                                 const InferResponse& response);
// The failure of one request of a stream.
grpc::ByteBuffer EncodeGrpcStreamError(const std::string& id, const Status& status);

}  // namespace duly
