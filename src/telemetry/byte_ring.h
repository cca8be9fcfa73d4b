// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace duly {

// Bytes between one producer and one consumer, in memory that is there from the start. What is
// committed at once is contiguous. Neither side ever waits.
//
// Threading: Reserve() and Commit() from the producer, Readable() and Release() from the consumer.
class ByteRing {
 public:
  // `bytes` is rounded up to a power of two, at least 4 KiB. `padding` is written once where bytes
  // are skipped because the next ones would not be contiguous: up to the end of what Readable()
  // gives then, they mean nothing.
  ByteRing(std::size_t bytes, std::uint8_t padding)
      : mask_(std::bit_ceil(std::max(bytes, std::size_t{4096})) - 1),
        padding_(padding),
        bytes_(std::make_unique<std::uint8_t[]>(capacity())) {}

  std::size_t capacity() const { return mask_ + 1; }

  // Room for so many bytes, or nullptr. Once there was none, there is none until the ring is at
  // most half full: what is lost is lost in one long run rather than in many short ones.
  std::uint8_t* Reserve(std::size_t bytes) {
    if (head_ + bytes > limit_ && !FindRoom(bytes)) [[unlikely]]
      return nullptr;
    return &bytes_[head_ & mask_];
  }
  // The first `bytes` of what was reserved are for the consumer.
  void Commit(std::size_t bytes) {
    head_ += bytes;
    produced_.store(head_, std::memory_order_release);
  }

  // The oldest bytes, whole commits and maybe padding at the end; empty when there are none. They
  // may stop short of the newest ones, which the next call gives.
  std::span<const std::uint8_t> Readable() const {
    const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    const std::size_t offset = tail & mask_;
    const std::uint64_t count = produced_.load(std::memory_order_acquire) - tail;
    return {&bytes_[offset], std::min<std::uint64_t>(count, capacity() - offset)};
  }
  // Frees the first `bytes` of what Readable() gave.
  void Release(std::size_t bytes) {
    tail_.store(tail_.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
  }

 private:
  static constexpr std::size_t kCacheLine = 64;

  // Moves limit_, and head_ to the beginning where what is left at the end is too short.
  bool FindRoom(std::size_t bytes) {
    const std::uint64_t tail = tail_.load(std::memory_order_acquire);
    const std::uint64_t lap_end = (head_ | mask_) + 1;
    const bool skips = head_ + bytes > lap_end;
    const std::uint64_t begin = skips ? lap_end : head_;
    const std::uint64_t most = refused_ ? capacity() / 2 : capacity();
    refused_ = begin + bytes - tail > most;
    if (refused_) {
      limit_ = head_;
      return false;
    }
    if (skips) {
      bytes_[head_ & mask_] = padding_;
      head_ = begin;
    }
    limit_ = std::min(tail + capacity(), (begin | mask_) + 1);
    return true;
  }

  // Positions only grow; their low bits are offsets.
  const std::size_t mask_;
  const std::uint8_t padding_;
  const std::unique_ptr<std::uint8_t[]> bytes_;
  // The producer's: where it writes, up to where all is free without a break, and whether it was
  // refused last.
  alignas(kCacheLine) std::uint64_t head_ = 0;
  std::uint64_t limit_ = 0;
  bool refused_ = false;
  alignas(kCacheLine) std::atomic<std::uint64_t> produced_ = 0;
  alignas(kCacheLine) std::atomic<std::uint64_t> tail_ = 0;
};

}  // namespace duly
