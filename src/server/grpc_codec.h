// SPDX-License-Identifier: Apache-2.0
//
// Inference requests and answers in the messages of the Open Inference Protocol.
#pragma once

#include <google/protobuf/arena.h>
#include <inference.pb.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/grpc_message.h"
#include "server/infer_call.h"
#include "server/model_service.h"

namespace duly {

// A request message with the memory that it lives in; raw contents stay in the bytes that came.
class GrpcInferMessage : public std::enable_shared_from_this<GrpcInferMessage> {
 public:
  // `input` is empty then; failures are those of ReadMessage.
  static Result<std::shared_ptr<const GrpcInferMessage>> Parse(GrpcInput& input, std::size_t limit);

  // Without its raw contents.
  const inference::ModelInferRequest& operator*() const { return *message_; }
  const inference::ModelInferRequest* operator->() const { return message_; }
  std::span<const std::string_view> raw_contents() const { return raw_; }
  // One of them, which keeps the message.
  Buffer Own(std::string_view raw) const {
    return Buffer(shared_from_this(), std::as_bytes(std::span<const char>(raw)));
  }

 private:
  Buffer bytes_;
  std::vector<std::string_view> raw_;
  google::protobuf::Arena arena_;
  inference::ModelInferRequest* message_ =
      google::protobuf::Arena::CreateMessage<inference::ModelInferRequest>(&arena_);
};

// Tensors of raw contents share the message's memory, where it is aligned for them.
Result<InferCall> DecodeGrpcInfer(const std::shared_ptr<const GrpcInferMessage>& message,
                                  const ModelService& service);

enum class GrpcReply : std::uint8_t {
  kUnary,   // ModelInferResponse
  kStream,  // ModelStreamInferResponse
  kFinal,   // the same, and says that it is the request's last
};

// The answer to a request that was served (Conclude); the raw contents of outputs in shared memory
// are empty, so that the others keep their place. Large tensors are not copied.
GrpcOutput EncodeGrpcReply(GrpcReply kind, const InferReplyFormat& format,
                           const InferResponse& response);
// The failure of one request of a stream.
GrpcOutput EncodeGrpcStreamError(const std::string& id, const Status& status);

}  // namespace duly
