// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_message.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpc/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "server/inflater.h"

namespace duly {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{64} << 10;

grpc_compression_algorithm CompressionOf(const grpc::ByteBuffer& bytes) {
  // ByteBuffer promises that it is a pointer to this and nothing else, and has no other way to it.
  static_assert(sizeof(bytes) == sizeof(grpc_byte_buffer*));
  const grpc_byte_buffer* buffer = nullptr;
  std::memcpy(&buffer, static_cast<const void*>(&bytes), sizeof(buffer));
  return buffer == nullptr ? GRPC_COMPRESS_NONE : buffer->data.raw.compression;
}

Status Corrupt(std::string_view why) {
  return Status(StatusCode::kInvalidArgument,
                fmt::format("the message is not validly compressed: {}", why));
}

// A message in memory may be many times larger than its bytes: an empty part of two bytes is an
// object. Below this fraction of the limit no message exceeds kMostGrowth times the limit.
constexpr std::size_t kSmallMessage = 16;
constexpr std::size_t kMostGrowth = 4;
constexpr std::size_t kMessageCost = 128;
constexpr std::size_t kTextCost = 48;

// Adds what the fields of a message of this type take in memory, roughly. False when the bytes are
// no message: parsing says so. Stops beyond `most`.
bool AddCost(google::protobuf::io::CodedInputStream& in, const google::protobuf::Descriptor* type,
             int depth, std::size_t most, std::size_t& cost) {
  using google::protobuf::FieldDescriptor;
  using google::protobuf::internal::WireFormatLite;
  constexpr int kMaxDepth = 100;  // as the parser's
  if (depth > kMaxDepth) return false;
  while (cost <= most) {
    const std::uint32_t tag = in.ReadTag();
    if (tag == 0) return true;
    const FieldDescriptor* const field =
        type->FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      cost += sizeof(std::uint64_t);
      if (!WireFormatLite::SkipField(&in, tag)) return false;
      continue;
    }
    std::uint32_t size = 0;
    if (!in.ReadVarint32(&size)) return false;
    const bool nested = field != nullptr && field->type() == FieldDescriptor::TYPE_MESSAGE;
    if (nested) {
      cost += kMessageCost;
      const auto limit = in.PushLimit(static_cast<int>(std::min<std::uint32_t>(size, INT32_MAX)));
      if (!AddCost(in, field->message_type(), depth + 1, most, cost)) return false;
      if (cost > most) return true;
      in.PopLimit(limit);
      continue;
    }
    const bool packed = field != nullptr && field->is_packable();
    cost += packed ? size * sizeof(std::uint64_t) : kTextCost + size;
    if (size > INT32_MAX || !in.Skip(static_cast<int>(size))) return false;
  }
  return true;
}

std::size_t CostOf(grpc::ByteBuffer& bytes, const google::protobuf::Descriptor* type,
                   std::size_t most) {
  grpc::ProtoBufferReader reader(&bytes);
  google::protobuf::io::CodedInputStream in(&reader);
  std::size_t cost = 0;
  return AddCost(in, type, 0, most, cost) ? cost : 0;
}

// The bytes become what they stand for.
Status Decompress(DeflateFormat format, std::size_t limit, grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> coded;
  if (!bytes.Dump(&coded).ok()) return Corrupt("it cannot be read");
  Inflater inflater(format);
  if (!inflater.ready()) return Status(StatusCode::kResourceExhausted, "out of memory");
  std::vector<grpc::Slice> plain;
  const auto piece = std::make_unique_for_overwrite<std::byte[]>(kPieceBytes);
  std::size_t size = 0;
  int code = Z_OK;
  for (const grpc::Slice& slice : coded) {
    std::span<const std::byte> in(reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
    // Input may have been taken whose output had no room yet.
    bool full = false;
    while (!in.empty() || full) {
      if (code == Z_STREAM_END) return Corrupt("something follows its end");
      std::span<std::byte> out(piece.get(), kPieceBytes);
      code = inflater.Step(in, out);
      if (code == Z_BUF_ERROR) break;
      if (code != Z_OK && code != Z_STREAM_END) return Corrupt(inflater.message());
      full = out.empty() && code == Z_OK;
      const std::size_t filled = kPieceBytes - out.size();
      size += filled;
      if (size > limit) {
        return Status(StatusCode::kResourceExhausted,
                      fmt::format("the message has more than {} bytes when it is decompressed: "
                                  "the server accepts no more",
                                  limit));
      }
      if (filled > 0) plain.emplace_back(piece.get(), filled);
    }
  }
  if (code != Z_STREAM_END) return Corrupt("it is cut off");
  bytes = grpc::ByteBuffer(plain.data(), plain.size());
  return Status();
}

}  // namespace

Status ReadMessage(grpc::ByteBuffer& bytes, std::size_t limit, google::protobuf::Message& message) {
  const grpc_compression_algorithm compression = CompressionOf(bytes);
  if (compression != GRPC_COMPRESS_NONE) {
    const DeflateFormat format =
        compression == GRPC_COMPRESS_GZIP ? DeflateFormat::kGzip : DeflateFormat::kZlib;
    if (Status status = Decompress(format, limit, bytes); !status.ok()) {
      bytes.Clear();
      return status;
    }
  }
  const std::size_t most = kMostGrowth * limit;
  if (bytes.Length() > limit / kSmallMessage &&
      CostOf(bytes, message.GetDescriptor(), most) > most) {
    bytes.Clear();
    return Status(StatusCode::kResourceExhausted,
                  fmt::format("the message would take more than {} bytes in memory: the server "
                              "accepts no more",
                              most));
  }
  bool ok = false;
  {
    grpc::ProtoBufferReader reader(&bytes);
    ok = reader.status().ok() && message.ParseFromZeroCopyStream(&reader);
  }
  bytes.Clear();
  if (ok) return Status();
  return Status(StatusCode::kInvalidArgument,
                fmt::format("the message is no {}", message.GetDescriptor()->name()));
}

grpc::ByteBuffer WriteMessage(const google::protobuf::Message& message) {
  const grpc::Slice text(message.SerializeAsString());
  return {&text, 1};
}

}  // namespace duly
