// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_message.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "server/inflater.h"

namespace duly {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{64} << 10;

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

std::size_t CostOf(std::string_view bytes, const google::protobuf::Descriptor* type,
                   std::size_t most) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                            static_cast<int>(bytes.size()));
  std::size_t cost = 0;
  return AddCost(in, type, 0, most, cost) ? cost : 0;
}

}  // namespace

std::optional<GrpcCoding> ParseGrpcCoding(std::string_view name) {
  if (name == "identity") return GrpcCoding::kIdentity;
  if (name == "deflate") return GrpcCoding::kDeflate;
  if (name == "gzip") return GrpcCoding::kGzip;
  return std::nullopt;
}

std::size_t SizeOf(const GrpcOutput& message) {
  std::size_t size = 0;
  for (const Buffer& piece : message) size += piece.size();
  return size;
}

Status Decompress(GrpcInput& input, std::size_t limit) {
  if (!input.fault.ok()) return input.fault;
  if (input.coding == GrpcCoding::kIdentity) return Status();
  Inflater inflater(input.coding == GrpcCoding::kGzip ? DeflateFormat::kGzip
                                                      : DeflateFormat::kZlib);
  if (!inflater.ready()) return Status(StatusCode::kResourceExhausted, "out of memory");
  std::string plain;
  const auto piece = std::make_unique_for_overwrite<std::byte[]>(kPieceBytes);
  std::span<const std::byte> in = input.bytes.data();
  int code = Z_OK;
  while (code != Z_STREAM_END) {
    std::span<std::byte> out(piece.get(), kPieceBytes);
    code = inflater.Step(in, out);
    if (code == Z_BUF_ERROR) return Corrupt("it is cut off");
    if (code != Z_OK && code != Z_STREAM_END) return Corrupt(inflater.message());
    const std::size_t filled = kPieceBytes - out.size();
    if (plain.size() + filled > limit) {
      return Status(StatusCode::kResourceExhausted,
                    fmt::format("the message has more than {} bytes when it is decompressed: "
                                "the server accepts no more",
                                limit));
    }
    plain.append(reinterpret_cast<const char*>(piece.get()), filled);
  }
  if (!in.empty()) return Corrupt("something follows its end");
  auto owner = std::make_shared<const std::string>(std::move(plain));
  const auto bytes = std::as_bytes(std::span<const char>(*owner));
  input = {Buffer(std::move(owner), bytes), GrpcCoding::kIdentity};
  return Status();
}

Status MessageTooLarge(std::size_t limit) {
  return Status(StatusCode::kResourceExhausted,
                fmt::format("the message would take more than {} bytes in memory: the server "
                            "accepts no more",
                            kMostGrowth * limit));
}

Status ParseMessage(std::string_view bytes, std::size_t limit, google::protobuf::Message& message) {
  const std::size_t most = kMostGrowth * limit;
  if (bytes.size() > std::numeric_limits<int>::max() ||
      (bytes.size() > limit / kSmallMessage &&
       CostOf(bytes, message.GetDescriptor(), most) > most)) {
    return MessageTooLarge(limit);
  }
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Status();
  return Status(StatusCode::kInvalidArgument,
                fmt::format("the message is no {}", message.GetDescriptor()->name()));
}

Status ReadMessage(GrpcInput& input, std::size_t limit, google::protobuf::Message& message) {
  GrpcInput taken = std::exchange(input, GrpcInput());
  if (Status plain = Decompress(taken, limit); !plain.ok()) return plain;
  const std::span<const std::byte> bytes = taken.bytes.data();
  return ParseMessage({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, limit, message);
}

GrpcOutput WriteMessage(const google::protobuf::Message& message) {
  auto [buffer, bytes] = Buffer::Allocate(message.ByteSizeLong());
  message.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  return {std::move(buffer)};
}

Status NoGrpcMessage() {
  return Status(StatusCode::kUnimplemented, "the call has no message: expected one");
}

std::optional<Duration> ParseGrpcTimeout(std::string_view text) {
  constexpr std::size_t kMostDigits = 8;
  if (text.size() < 2 || text.size() > kMostDigits + 1) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = 10 * number + (c - '0');
  }
  switch (text.back()) {
    case 'H':
      return std::chrono::hours(std::min<std::int64_t>(number, 1'000'000));  // in Duration's range
    case 'M':
      return std::chrono::minutes(number);
    case 'S':
      return std::chrono::seconds(number);
    case 'm':
      return std::chrono::milliseconds(number);
    case 'u':
      return std::chrono::microseconds(number);
    case 'n':
      return std::chrono::nanoseconds(number);
    default:
      return std::nullopt;
  }
}

std::string EncodeGrpcText(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F && c != '%') {
      encoded += c;
    } else {
      encoded += '%';
      encoded += kDigits[byte >> 4];
      encoded += kDigits[byte & 15];
    }
  }
  return encoded;
}

}  // namespace duly
