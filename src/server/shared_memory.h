// SPDX-License-Identifier: Apache-2.0
//
// Tensors in POSIX shared memory that clients own.
//
// A client may write, truncate or remove its object at any time, also while a request uses it.
// Therefore the server never maps one: to touch a mapped page whose object has become shorter
// raises SIGBUS, and a back end that reads its inputs in place could not be kept from that. Bytes
// are copied with pread and pwrite on a descriptor of the object instead, which fail and raise
// nothing. So what was checked (lengths of BYTES elements, values of BOOL ones) is also what runs,
// and an object that its client has removed serves until it is unregistered.
//
// What 602 112 bytes cost in CPU time (shared_memory_bench): pread 44 us, pwrite 58 us;
// process_vm_readv and process_vm_writev on a mapping of the process itself 62 and 64 us, and some
// containers forbid them; memcpy 19 us, but it needs a handler of SIGBUS for the whole process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "model/tensor.h"
#include "server/memory_budget.h"

namespace duly {

// A window of a shared memory object under a name of the client's choice. Immutable; whoever holds
// it can use it, also after it was unregistered.
// Threading: any.
class SharedMemoryRegion {
 public:
  // key: one name of shm_open, with or without its slash. kInvalidArgument when it is not, or the
  // object cannot be opened for reading and writing, or ends before the window does.
  static Result<std::shared_ptr<const SharedMemoryRegion>> Open(std::string name, std::string key,
                                                                std::uint64_t offset,
                                                                std::uint64_t bytes);

  const std::string& name() const { return name_; }
  const std::string& key() const { return key_; }
  std::uint64_t offset() const { return offset_; }  // in the object
  std::uint64_t bytes() const { return bytes_; }

  // Copies from or to a part of the region. kInvalidArgument when it reaches beyond the region's
  // end, or the object has become shorter; then any part of `data` may have been copied.
  Status Read(std::uint64_t offset, std::span<std::byte> data) const;
  Status Write(std::uint64_t offset, std::span<const std::byte> data) const;

  // Whether the part is within the region; kInvalidArgument.
  Status CheckPart(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  SharedMemoryRegion(std::string name, std::string key, std::uint64_t offset, std::uint64_t bytes,
                     UniqueFd object)
      : name_(std::move(name)),
        key_(std::move(key)),
        offset_(offset),
        bytes_(bytes),
        object_(std::move(object)) {}

  Status HasShrunk() const;

  const std::string name_;
  const std::string key_;
  const std::uint64_t offset_;
  const std::uint64_t bytes_;
  const UniqueFd object_;
};

// What is said where the operator allows no shared memory; kUnimplemented.
Status SharedMemoryNotAllowed();

// Where a tensor stands.
struct SharedMemoryPlace {
  std::shared_ptr<const SharedMemoryRegion> region;  // null: in the message
  std::uint64_t offset = 0;                          // in the region
  std::uint64_t bytes = 0;
};

// The regions that clients have registered.
// Threading: all methods from any thread.
class SharedMemoryRegistry {
 public:
  // copied_bytes: of all copies of tensors that requests hold at one time (MemoryBudget).
  explicit SharedMemoryRegistry(std::size_t copied_bytes);

  // kAlreadyExists when there is a region of this name; kResourceExhausted when there are too many
  // (each keeps a file open); and as SharedMemoryRegion::Open.
  Status Register(std::string name, std::string key, std::uint64_t offset, std::uint64_t bytes);
  // Names of no region are fine.
  void Unregister(std::string_view name);
  void UnregisterAll();

  std::shared_ptr<const SharedMemoryRegion> Find(std::string_view name) const;
  // Sorted by name.
  std::vector<std::shared_ptr<const SharedMemoryRegion>> Regions() const;

  // A part of the region of this name. kInvalidArgument when there is none.
  Result<SharedMemoryPlace> Locate(std::string_view name, std::uint64_t offset,
                                   std::uint64_t bytes) const;
  // A copy of what stands there. kInvalidArgument as SharedMemoryRegion::Read; kResourceExhausted
  // when there is no memory for it now.
  Result<Buffer> Copy(const SharedMemoryPlace& place) const;

 private:
  const std::shared_ptr<MemoryBudget> copies_;
  const std::size_t max_regions_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<const SharedMemoryRegion>, std::less<>> regions_
      DULY_GUARDED_BY(mutex_);
};

}  // namespace duly
