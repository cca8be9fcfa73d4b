// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "model/tensor.h"
#include "server/memory_budget.h"

namespace duly {

// Memory that a request's body is read into, in such a way that its binary tensors can stay where
// they are: what follows the JSON part is aligned, and the body is followed by readable bytes for
// the JSON parser.
class HttpBody {
 public:
  // json_size: length of the JSON part, where it is known; the tensors start there. False when
  // there is no memory, or none left in the budget.
  bool Start(std::shared_ptr<MemoryBudget> budget, std::size_t json_size, std::size_t capacity);
  // Makes room for `capacity` bytes in all, more than there is; false when there is no memory.
  bool Grow(std::size_t capacity);
  // Grows as needed; false when there is no memory.
  bool Append(std::span<const std::byte> data);

  std::span<std::byte> unfilled() { return memory_.subspan(begin_ + size_, capacity_ - size_); }
  void Fill(std::size_t bytes) { size_ += bytes; }
  std::size_t size() const { return size_; }

  // The body; leaves none.
  Buffer Take();

 private:
  std::shared_ptr<MemoryBudget> budget_;
  Buffer buffer_;
  std::span<std::byte> memory_;
  std::size_t begin_ = 0;  // of the body in the memory
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

}  // namespace duly
