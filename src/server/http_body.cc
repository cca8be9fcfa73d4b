// SPDX-License-Identifier: Apache-2.0
#include "server/http_body.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <tuple>
#include <utility>

#include "server/infer_json.h"

namespace duly {
namespace {

constexpr std::size_t kAlignment = 64;  // that of Buffer::Allocate

}  // namespace

bool HttpBody::Start(std::shared_ptr<MemoryBudget> budget, std::size_t json_size,
                     std::size_t capacity) {
  begin_ = (kAlignment - json_size % kAlignment) % kAlignment;
  try {
    auto allocated = MemoryBudget::Allocate(budget, begin_ + capacity + InferDecoder::kPadding);
    if (!allocated) return false;
    std::tie(buffer_, memory_) = std::move(*allocated);
  } catch (const std::bad_alloc&) {
    return false;  // a client asked for it: no reason to end the process
  }
  budget_ = std::move(budget);
  capacity_ = capacity;
  size_ = 0;
  return true;
}

bool HttpBody::Grow(std::size_t capacity) {
  HttpBody larger;
  // begin_ stands for the length of the JSON part: both leave the same remainder.
  if (!larger.Start(budget_, kAlignment - begin_, capacity)) return false;
  std::ranges::copy(memory_.subspan(begin_, size_), larger.unfilled().begin());
  larger.Fill(size_);
  *this = std::move(larger);
  return true;
}

bool HttpBody::Append(std::span<const std::byte> data) {
  if (data.size() > capacity_ - size_ && !Grow(std::max(2 * capacity_, size_ + data.size()))) {
    return false;
  }
  std::ranges::copy(data, unfilled().begin());
  Fill(data.size());
  return true;
}

Buffer HttpBody::Take() {
  if (memory_.empty()) return Buffer();
  // What the parser may look at behind the body is defined, so that no run depends on chance.
  std::memset(memory_.data() + begin_ + size_, 0, InferDecoder::kPadding);
  Buffer body = buffer_.Slice(begin_, size_);
  *this = HttpBody();
  return body;
}

}  // namespace duly
