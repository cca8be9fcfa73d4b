// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>

#include "base/result.h"

namespace duly {

// Reads a message that a client sent, compressed or not. Empties `bytes`. kResourceExhausted as
// soon as a compressed message exceeds `limit` bytes, or one that was read would take more than
// four times as many, kInvalidArgument when it is none.
//
// gRPC would decompress it whole before it looks at the limit: 64 MiB that stand for 64 GiB end the
// process. The server therefore tells it not to
// (GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION).
Status ReadMessage(grpc::ByteBuffer& bytes, std::size_t limit, google::protobuf::Message& message);

grpc::ByteBuffer WriteMessage(const google::protobuf::Message& message);

}  // namespace duly
