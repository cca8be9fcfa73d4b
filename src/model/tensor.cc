// SPDX-License-Identifier: Apache-2.0
#include "model/tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

namespace duly {
namespace {

struct TypeFacts {
  std::string_view name;
  std::size_t size;
};
// In the order of the enum.
constexpr std::array<TypeFacts, 14> kTypes{{{"BOOL", 1},
                                            {"UINT8", 1},
                                            {"UINT16", 2},
                                            {"UINT32", 4},
                                            {"UINT64", 8},
                                            {"INT8", 1},
                                            {"INT16", 2},
                                            {"INT32", 4},
                                            {"INT64", 8},
                                            {"FP16", 2},
                                            {"BF16", 2},
                                            {"FP32", 4},
                                            {"FP64", 8},
                                            {"BYTES", 0}}};
constexpr std::align_val_t kAlignment{64};

}  // namespace

std::string_view ToString(DataType type) { return kTypes.at(static_cast<std::size_t>(type)).name; }

std::size_t ElementSize(DataType type) { return kTypes.at(static_cast<std::size_t>(type)).size; }

std::optional<DataType> ParseDataType(std::string_view name) {
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes.at(i).name == name) return static_cast<DataType>(i);
  }
  return std::nullopt;
}

float FromFp16(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  float magnitude = 0;
  if (exponent == 31) {
    magnitude = fraction == 0 ? std::numeric_limits<float>::infinity()
                              : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

float FromBf16(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

std::string ToString(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

std::optional<std::int64_t> ElementCount(std::span<const std::int64_t> shape) {
  // A zero anywhere makes the tensor empty, but a product that overflows is refused even so: no
  // honest client sends one.
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (dimension == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(count, dimension, &count)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : count;
}

Buffer Buffer::CopyOf(std::span<const std::byte> data) {
  auto [buffer, bytes] = Allocate(data.size());
  if (!data.empty()) std::memcpy(bytes.data(), data.data(), data.size());
  return buffer;
}

std::pair<Buffer, std::span<std::byte>> Buffer::Allocate(std::size_t size) {
  if (size == 0) return {Buffer(), {}};
  auto* memory = static_cast<std::byte*>(::operator new(size, kAlignment));
  std::shared_ptr<const void> owner(
      memory, [](const void* p) { ::operator delete(const_cast<void*>(p), kAlignment); });
  const std::span<std::byte> bytes(memory, size);
  return {Buffer(std::move(owner), bytes), bytes};
}

void AppendBytesElement(std::string_view element, std::vector<std::byte>& data) {
  const auto length = static_cast<std::uint32_t>(element.size());
  const auto length_bytes = std::as_bytes(std::span(&length, 1));
  const auto element_bytes = std::as_bytes(std::span(element));
  data.insert(data.end(), length_bytes.begin(), length_bytes.end());
  data.insert(data.end(), element_bytes.begin(), element_bytes.end());
}

std::optional<std::vector<std::string_view>> SplitBytesTensor(std::span<const std::byte> data,
                                                              std::int64_t elements) {
  std::vector<std::string_view> result;
  // A wrong count must not reserve memory: each element needs at least its length.
  result.reserve(
      std::min<std::size_t>(static_cast<std::size_t>(std::max<std::int64_t>(elements, 0)),
                            data.size() / sizeof(std::uint32_t)));
  while (!data.empty()) {
    std::uint32_t length = 0;
    if (data.size() < sizeof(length)) return std::nullopt;
    std::memcpy(&length, data.data(), sizeof(length));
    data = data.subspan(sizeof(length));
    if (data.size() < length) return std::nullopt;
    result.emplace_back(reinterpret_cast<const char*>(data.data()), length);
    data = data.subspan(length);
  }
  if (static_cast<std::int64_t>(result.size()) != elements) return std::nullopt;
  return result;
}

}  // namespace duly
