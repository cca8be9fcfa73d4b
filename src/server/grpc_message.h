// SPDX-License-Identifier: Apache-2.0
//
// The messages of gRPC calls: their coding, and the small texts around them.
#pragma once

#include <google/protobuf/message.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/tensor.h"

namespace duly {

// How a client compresses its messages.
enum class GrpcCoding : std::uint8_t { kIdentity, kDeflate, kGzip };
// Of a `grpc-encoding`; nothing for others.
std::optional<GrpcCoding> ParseGrpcCoding(std::string_view name);

// A message that has come.
struct GrpcInput {
  Buffer bytes;
  GrpcCoding coding = GrpcCoding::kIdentity;
  Status fault = Status();  // why it could not be decompressed
};

// A message to send, in pieces one behind the other: tensors stay where they are.
using GrpcOutput = std::vector<Buffer>;

std::size_t SizeOf(const GrpcOutput& message);

// Makes the bytes what they stand for, unless it has failed before. kResourceExhausted as soon as
// that exceeds `limit` bytes, kInvalidArgument when they are not validly compressed.
Status Decompress(GrpcInput& input, std::size_t limit);

// Reads a message; `input` is empty then. Failures are those of Decompress, and kResourceExhausted
// when the message would take more than four times `limit` bytes in memory, kInvalidArgument when
// it is none.
Status ReadMessage(GrpcInput& input, std::size_t limit, google::protobuf::Message& message);
// The same for bytes that are not compressed.
Status ParseMessage(std::string_view bytes, std::size_t limit, google::protobuf::Message& message);

// What a message is told that would take more than four times `limit` bytes.
Status MessageTooLarge(std::size_t limit);

GrpcOutput WriteMessage(const google::protobuf::Message& message);

// What a call is told that ends without the one message that it needs.
Status NoGrpcMessage();

// "100m": a `grpc-timeout`, at most eight digits and a unit; nothing when it is none.
std::optional<Duration> ParseGrpcTimeout(std::string_view text);
// Text as `grpc-message` holds it: printable ASCII, the rest as %XX.
std::string EncodeGrpcText(std::string_view text);

}  // namespace duly
