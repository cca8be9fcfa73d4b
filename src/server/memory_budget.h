// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "model/tensor.h"

namespace duly {

// Bounds the memory of all request bodies together: those being read, and those that requests in
// the node still refer to. Threading: any.
class MemoryBudget {
 public:
  // Of a connection that has one body: the number of connections bounds what does not count.
  static constexpr std::size_t kUncounted = std::size_t{64} << 10;

  explicit MemoryBudget(std::size_t bytes) : bytes_(bytes) {}

  // Buffer::Allocate of memory that counts until its last view is gone, unless it is small; nothing
  // when it would exceed the budget. Throws std::bad_alloc.
  static std::optional<std::pair<Buffer, std::span<std::byte>>> Allocate(
      const std::shared_ptr<MemoryBudget>& budget, std::size_t bytes,
      std::size_t uncounted = kUncounted) {
    if (bytes <= uncounted) return Buffer::Allocate(bytes);
    auto lease = std::make_shared<Lease>(budget, bytes);
    if (budget->used_.fetch_add(bytes, std::memory_order_relaxed) + bytes > budget->bytes_) {
      return std::nullopt;
    }
    const auto [buffer, memory] = Buffer::Allocate(bytes);
    lease->memory = buffer;
    return std::pair(Buffer(std::move(lease), memory), memory);
  }

 private:
  struct Lease {
    Lease(std::shared_ptr<MemoryBudget> b, std::size_t n) : budget(std::move(b)), bytes(n) {}
    ~Lease() { budget->used_.fetch_sub(bytes, std::memory_order_relaxed); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    std::shared_ptr<MemoryBudget> budget;
    std::size_t bytes;
    Buffer memory;
  };

  const std::size_t bytes_;
  std::atomic<std::size_t> used_{0};
};

}  // namespace duly
