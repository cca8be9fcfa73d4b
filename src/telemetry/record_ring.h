// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace duly {

// A ring of byte records between one producer and one consumer, in memory that is there from the
// start. Neither side ever waits.
//
// Threading: Reserve(), Commit() and AtMostHalfFull() from the producer, Front() and Pop() from the
// consumer, produced() from either.
class RecordRing {
 public:
  // Rounded up to a power of two, at least 4 KiB.
  explicit RecordRing(std::size_t bytes)
      : capacity_(std::bit_ceil(std::max(bytes, std::size_t{4096}))),
        words_(std::make_unique<std::uint64_t[]>(capacity_ / kWord)) {}

  // Room for one record of `bytes` > 0, contiguous and aligned to 8 bytes; nullptr when it does not
  // fit now. Visible to the consumer after Commit().
  std::byte* Reserve(std::size_t bytes) {
    const std::size_t needed = kWord + (bytes + kWord - 1) / kWord * kWord;
    const std::size_t offset = head_ & (capacity_ - 1);
    const std::size_t skipped = needed > capacity_ - offset ? capacity_ - offset : 0;
    const std::uint64_t next = head_ + skipped + needed;
    if (next - known_tail_ > capacity_) {
      known_tail_ = tail_.load(std::memory_order_acquire);
      if (next - known_tail_ > capacity_) return nullptr;
    }
    if (skipped != 0) words_[offset / kWord] = kSkip;
    reserved_ = next;
    std::uint64_t* record = &words_[((head_ + skipped) & (capacity_ - 1)) / kWord];
    *record = bytes;
    return reinterpret_cast<std::byte*>(record + 1);
  }
  void Commit() {
    head_ = reserved_;
    produced_.store(head_, std::memory_order_release);
  }
  bool AtMostHalfFull() {
    known_tail_ = tail_.load(std::memory_order_acquire);
    return head_ - known_tail_ <= capacity_ / 2;
  }

  // Position behind the newest record.
  std::uint64_t produced() const { return produced_.load(std::memory_order_acquire); }

  // The oldest record before the position `until`; empty when there is none.
  std::span<const std::byte> Front(std::uint64_t until) {
    if (position_ == until) return {};
    std::size_t offset = position_ & (capacity_ - 1);
    if (words_[offset / kWord] == kSkip) {
      position_ += capacity_ - offset;
      offset = 0;
    }
    const std::uint64_t bytes = words_[offset / kWord];
    return {reinterpret_cast<const std::byte*>(&words_[offset / kWord + 1]), bytes};
  }
  // Frees the record that Front() gave.
  void Pop() {
    const std::uint64_t bytes = words_[(position_ & (capacity_ - 1)) / kWord];
    position_ += kWord + (bytes + kWord - 1) / kWord * kWord;
    tail_.store(position_, std::memory_order_release);
  }

 private:
  static constexpr std::size_t kWord = sizeof(std::uint64_t);
  // In the place of a length: the next record is at the ring's beginning.
  static constexpr std::uint64_t kSkip = ~std::uint64_t{0};
  static constexpr std::size_t kCacheLine = 64;

  // Positions only grow; their low bits are offsets into the ring.
  const std::size_t capacity_;
  const std::unique_ptr<std::uint64_t[]> words_;

  alignas(kCacheLine) std::uint64_t head_ = 0;  // producer's
  std::uint64_t reserved_ = 0;
  std::uint64_t known_tail_ = 0;
  alignas(kCacheLine) std::uint64_t position_ = 0;  // consumer's
  alignas(kCacheLine) std::atomic<std::uint64_t> produced_ = 0;
  alignas(kCacheLine) std::atomic<std::uint64_t> tail_ = 0;
};

}  // namespace duly
