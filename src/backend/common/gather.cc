// SPDX-License-Identifier: Apache-2.0
#include "backend/common/gather.h"

#include <cstdint>
#include <cstring>

#include "backend/common/batch.h"

namespace duly {
namespace {

// Clients may send any byte as a BOOL, but kernels count on 0 and 1.
bool HasOddBool(std::span<const std::byte> data) {
  std::byte all{0};
  for (const std::byte b : data) all |= b;
  return all > std::byte{1};
}

// A tensor cut out of a message may begin anywhere.
bool UsableInPlace(const Tensor& tensor) {
  if (tensor.type == DataType::kBytes) return true;
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data.data().data());
  return address % ElementSize(tensor.type) == 0 &&
         !(tensor.type == DataType::kBool && HasOddBool(tensor.data.data()));
}

}  // namespace

std::span<std::byte> GatherSpace::Of(std::size_t index, std::size_t size) {
  if (spaces_.size() <= index) spaces_.resize(index + 1);
  Space& space = spaces_[index];
  if (space.bytes.size() < size) {
    space = Space();
    auto [buffer, bytes] = Buffer::Allocate(size);
    space.buffer = std::move(buffer);
    space.bytes = bytes;
  }
  return space.bytes.first(size);
}

std::span<const std::byte> Gather(std::span<const RunItem> items,
                                  std::span<const TensorSpec> inputs, std::size_t index,
                                  GatherSpace& space) {
  const Tensor& first = *FindInput(items.front(), inputs, index);
  if (items.size() == 1 && UsableInPlace(first)) return first.data.data();
  std::size_t size = 0;
  for (const RunItem& item : items) size += FindInput(item, inputs, index)->data.size();
  const std::span<std::byte> gathered = space.Of(index, size);
  std::size_t offset = 0;
  for (const RunItem& item : items) {
    const std::span<const std::byte> from = FindInput(item, inputs, index)->data.data();
    if (!from.empty()) std::memcpy(gathered.data() + offset, from.data(), from.size());
    offset += from.size();
  }
  if (first.type == DataType::kBool) {
    for (std::byte& b : gathered) b = b == std::byte{0} ? std::byte{0} : std::byte{1};
  }
  return gathered;
}

}  // namespace duly
