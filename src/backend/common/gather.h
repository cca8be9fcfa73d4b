// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "backend/interface/backend.h"
#include "base/mutex.h"
#include "model/tensor.h"

namespace duly {

// Memory for gathered inputs, kept from run to run: a batch of images is megabytes, and fresh
// memory would cost more page faults than the gathering costs copying.
class GatherSpace {
 public:
  // At least size bytes for input `index` of a batch, aligned to 64; what was there is gone.
  std::span<std::byte> Of(std::size_t index, std::size_t size);

 private:
  struct Space {
    Buffer buffer;
    std::span<std::byte> bytes;
  };
  std::vector<Space> spaces_;
};

// Input `index` of all items, one behind the other, as a library may read it: aligned to its
// element, BOOL only 0 and 1. The tensor of a single item is left where it lies when it is so; else
// the bytes are in `space`. After CheckBatch; the items have the input.
std::span<const std::byte> Gather(std::span<const RunItem> items,
                                  std::span<const TensorSpec> inputs, std::size_t index,
                                  GatherSpace& space);

// What runs work with, kept from run to run; there come to be as many as runs at once. T has
// Clear(), which lets go of all that belongs to a run.
// Threading: leases from any thread; they end before the pool.
template <typename T>
class Pool {
 public:
  class Lease {
   public:
    explicit Lease(Pool& pool) : pool_(pool), value_(pool.Take()) {}
    ~Lease() { pool_.Return(std::move(value_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    T& operator*() { return *value_; }

   private:
    Pool& pool_;
    std::unique_ptr<T> value_;
  };

 private:
  std::unique_ptr<T> Take() {
    {
      const MutexLock lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<T> value = std::move(free_.back());
        free_.pop_back();
        return value;
      }
    }
    return std::make_unique<T>();
  }

  void Return(std::unique_ptr<T> value) {
    value->Clear();
    const MutexLock lock(mutex_);
    free_.push_back(std::move(value));
  }

  Mutex mutex_;
  std::vector<std::unique_ptr<T>> free_ DULY_GUARDED_BY(mutex_);
};

}  // namespace duly
