// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace duly {

// Data types of the Open Inference Protocol.
enum class DataType : std::uint8_t {
  kBool,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFp16,
  kBf16,
  kFp32,
  kFp64,
  kBytes,
};

// Protocol names: "BOOL", "FP32", "BYTES".
std::string_view ToString(DataType type);
std::optional<DataType> ParseDataType(std::string_view name);
// Bytes of an element; 0 for kBytes, whose elements vary.
std::size_t ElementSize(DataType type);

// The value of an element of kFp16 (IEEE 754 binary16) or kBf16 (the upper half of a binary32).
float FromFp16(std::uint16_t bits);
float FromBf16(std::uint16_t bits);

// Dimensions, row-major. In a TensorSpec -1 stands for any size; in a Tensor all are >= 0.
using Shape = std::vector<std::int64_t>;

// "[1,3,224,224]".
std::string ToString(const Shape& shape);
// Product of the dimensions (1 for a scalar), or nothing when one is negative or the product
// overflows.
std::optional<std::int64_t> ElementCount(std::span<const std::int64_t> shape);

// Bytes with a shared owner. Slices share the owner: cutting a batch into answers copies nothing.
// The bytes are not changed once more than one Buffer refers to them.
class Buffer {
 public:
  Buffer() = default;
  // data stays valid while owner lives.
  Buffer(std::shared_ptr<const void> owner, std::span<const std::byte> data)
      : owner_(std::move(owner)), data_(data) {}

  // A copy of data.
  static Buffer CopyOf(std::span<const std::byte> data);
  // Uninitialised memory, aligned to 64 bytes; the writable view is returned beside it.
  static std::pair<Buffer, std::span<std::byte>> Allocate(std::size_t size);

  std::span<const std::byte> data() const { return data_; }
  std::size_t size() const { return data_.size(); }
  Buffer Slice(std::size_t offset, std::size_t size) const {
    return Buffer(owner_, data_.subspan(offset, size));
  }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> data_;
};

// What a model says of one of its inputs or outputs.
struct TensorSpec {
  std::string name;
  DataType type = DataType::kFp32;
  // Includes the leading batch dimension (-1) when the model batches (ModelSpec::max_rows > 0).
  Shape shape;
  bool optional = false;

  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// One named tensor. kBytes tensors hold the protocol's form: per element a little-endian u32 length
// and the bytes. All others: little-endian elements, row-major, exactly ElementCount * ElementSize
// bytes.
struct Tensor {
  std::string name;
  DataType type = DataType::kFp32;
  Shape shape;
  Buffer data;
};

// Appends an element to a kBytes buffer in the making. Of less than 4 GiB.
void AppendBytesElement(std::string_view element, std::vector<std::byte>& data);

// The elements of a kBytes buffer, or nothing when lengths and size do not agree or the count is
// not `elements`.
std::optional<std::vector<std::string_view>> SplitBytesTensor(std::span<const std::byte> data,
                                                              std::int64_t elements);

}  // namespace duly
