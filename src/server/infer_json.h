// SPDX-License-Identifier: Apache-2.0
//
// Inference requests and answers as JSON with the binary tensor extension of the Open Inference
// Protocol.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/infer.h"
#include "server/infer_call.h"

namespace duly {

// Reads requests. Reusable; holds memory in proportion to the largest recent request.
// Threading: one thread at a time.
class InferDecoder {
 public:
  // Readable bytes that must follow the body, for the JSON parser's wide loads.
  static constexpr std::size_t kPadding = 64;
  // Of JSON: deeper nesting is refused.
  static constexpr int kMaxDepth = 100;

  InferDecoder();
  ~InferDecoder();

  // body: json_size bytes of JSON, then the binary tensors as the JSON lists them; json_size 0: the
  // data of the model's only input and nothing else, answered in binary. Tensors given in binary
  // become slices of body where their alignment permits. Without a registry shared memory is
  // kUnimplemented.
  Result<InferCall> Decode(std::shared_ptr<const ServedModel> model, const Buffer& body,
                           std::size_t json_size,
                           const SharedMemoryRegistry* shared_memory = nullptr);

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

// Appends the answer to a request that was served to `json`, and to `binary` the tensors that
// follow it, as spans of response.outputs; there are such exactly when format.binary has a true for
// an output that is not in shared memory. Of those that are, name, datatype and shape are written.
// kInvalidArgument when an output cannot be written as JSON (NaN, infinity, BYTES that are not
// UTF-8) and the client should ask for binary data.
Status EncodeInferReply(const InferReplyFormat& format, const InferResponse& response,
                        std::string& json, std::vector<std::span<const std::byte>>& binary);

// {"error": message}, with the outcome, its reason and the prediction where the client asked for a
// report.
std::string EncodeInferError(const InferReplyFormat& format, const InferResponse& response,
                             const Status& status);

}  // namespace duly
