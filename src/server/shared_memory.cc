// SPDX-License-Identifier: Apache-2.0
#include "server/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <limits>
#include <new>
#include <system_error>

#include "base/utf8.h"

namespace duly {
namespace {

constexpr std::size_t kMaxNameBytes = 1024;
constexpr std::size_t kMaxRegions = 4096;

Status BadRegion(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}

std::string ErrnoText() { return std::generic_category().message(errno); }

// shm_open takes any path below its folder on some systems.
bool IsObjectName(std::string_view key) {
  if (key.starts_with('/')) key.remove_prefix(1);
  return !key.empty() && key.size() <= NAME_MAX && key != "." && key != ".." &&
         key.find('/') == std::string_view::npos && key.find('\0') == std::string_view::npos;
}

// Files that regions may keep open: the rest is for connections and models.
std::size_t MaxRegions() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return kMaxRegions;
  return std::min<std::uint64_t>(kMaxRegions, files.rlim_cur / 4);
}

}  // namespace

Result<std::shared_ptr<const SharedMemoryRegion>> SharedMemoryRegion::Open(std::string name,
                                                                           std::string key,
                                                                           std::uint64_t offset,
                                                                           std::uint64_t bytes) {
  if (name.empty() || name.size() > kMaxNameBytes || !IsUtf8(name)) {
    return Error(StatusCode::kInvalidArgument,
                 "the name of a shared memory region: expected 1 to {} bytes of UTF-8",
                 kMaxNameBytes);
  }
  const auto invalid = [&](std::string_view what) {
    return Error(BadRegion(fmt::format("shared memory region '{}': {}", name, what)));
  };
  if (!IsObjectName(key)) {
    return invalid(
        fmt::format("key '{}': expected the name of a shared memory object, at most {} "
                    "bytes without a slash behind the first",
                    key.substr(0, NAME_MAX + 1), NAME_MAX));
  }
  constexpr std::uint64_t kMaxEnd = std::numeric_limits<off_t>::max();
  if (bytes == 0) return invalid("byte_size 0: expected 1 or more");
  if (offset > kMaxEnd || bytes > kMaxEnd - offset) {
    return invalid(fmt::format("offset {} and byte_size {}: expected less together than {}", offset,
                               bytes, kMaxEnd));
  }
  const std::string path = key.starts_with('/') ? key : '/' + key;
  UniqueFd object(shm_open(path.c_str(), O_RDWR, 0));
  struct stat status {};
  if (!object.valid() || fstat(object.get(), &status) != 0) {
    return invalid(fmt::format("key '{}' cannot be opened: {}", key, ErrnoText()));
  }
  if (!S_ISREG(status.st_mode)) {
    return invalid(fmt::format("key '{}' is not a shared memory object", key));
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (offset + bytes > size) {
    return invalid(fmt::format("offset {} and byte_size {} reach beyond the {} bytes of '{}'",
                               offset, bytes, size, key));
  }
  return std::shared_ptr<const SharedMemoryRegion>(
      new SharedMemoryRegion(std::move(name), std::move(key), offset, bytes, std::move(object)));
}

Status SharedMemoryRegion::CheckPart(std::uint64_t offset, std::uint64_t bytes) const {
  if (offset <= bytes_ && bytes <= bytes_ - offset) return Status();
  return BadRegion(
      fmt::format("shared_memory_offset {} and shared_memory_byte_size {} reach beyond the {} "
                  "bytes of shared memory region '{}'",
                  offset, bytes, bytes_, name_));
}

Status SharedMemoryRegion::HasShrunk() const {
  return BadRegion(
      fmt::format("the shared memory object '{}' of region '{}' has become shorter: "
                  "expected the {} bytes that were registered",
                  key_, name_, offset_ + bytes_));
}

Status SharedMemoryRegion::Read(std::uint64_t offset, std::span<std::byte> data) const {
  if (Status part = CheckPart(offset, data.size()); !part.ok()) return part;
  auto at = static_cast<off_t>(offset_ + offset);
  while (!data.empty()) {
    const ssize_t read = pread(object_.get(), data.data(), data.size(), at);
    if (read == 0) return HasShrunk();
    if (read < 0) {
      if (errno == EINTR) continue;
      return BadRegion(
          fmt::format("shared memory region '{}' cannot be read: {}", name_, ErrnoText()));
    }
    data = data.subspan(static_cast<std::size_t>(read));
    at += read;
  }
  return Status();
}

Status SharedMemoryRegion::Write(std::uint64_t offset, std::span<const std::byte> data) const {
  if (Status part = CheckPart(offset, data.size()); !part.ok()) return part;
  auto at = static_cast<off_t>(offset_ + offset);
  // pwrite would make the object longer again. (One that shrinks from now on is made so: nobody but
  // its client can tell.)
  struct stat status {};
  if (fstat(object_.get(), &status) != 0 || status.st_size - at < static_cast<off_t>(data.size())) {
    return HasShrunk();
  }
  while (!data.empty()) {
    const ssize_t written = pwrite(object_.get(), data.data(), data.size(), at);
    if (written <= 0) {
      if (written < 0 && errno == EINTR) continue;
      return BadRegion(
          fmt::format("shared memory region '{}' cannot be written: {}", name_, ErrnoText()));
    }
    data = data.subspan(static_cast<std::size_t>(written));
    at += written;
  }
  return Status();
}

Status SharedMemoryNotAllowed() {
  return Status(StatusCode::kUnimplemented,
                "shared memory is not allowed on this server: expected --allow-client-shm");
}

SharedMemoryRegistry::SharedMemoryRegistry(std::size_t copied_bytes)
    : copies_(std::make_shared<MemoryBudget>(copied_bytes)), max_regions_(MaxRegions()) {}

Status SharedMemoryRegistry::Register(std::string name, std::string key, std::uint64_t offset,
                                      std::uint64_t bytes) {
  auto region = SharedMemoryRegion::Open(std::move(name), std::move(key), offset, bytes);
  if (!region) return std::move(region).error();
  const std::string& own_name = (*region)->name();
  const MutexLock lock(mutex_);
  if (regions_.contains(own_name)) {
    return Status(StatusCode::kAlreadyExists,
                  fmt::format("shared memory region '{}' is registered already", own_name));
  }
  if (regions_.size() >= max_regions_) {
    return Status(StatusCode::kResourceExhausted,
                  fmt::format("shared memory region '{}': expected at most {} regions", own_name,
                              max_regions_));
  }
  regions_.emplace(own_name, std::move(*region));
  return Status();
}

void SharedMemoryRegistry::Unregister(std::string_view name) {
  const MutexLock lock(mutex_);
  if (const auto found = regions_.find(name); found != regions_.end()) regions_.erase(found);
}

void SharedMemoryRegistry::UnregisterAll() {
  const MutexLock lock(mutex_);
  regions_.clear();
}

std::shared_ptr<const SharedMemoryRegion> SharedMemoryRegistry::Find(std::string_view name) const {
  const MutexLock lock(mutex_);
  const auto found = regions_.find(name);
  return found == regions_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<const SharedMemoryRegion>> SharedMemoryRegistry::Regions() const {
  std::vector<std::shared_ptr<const SharedMemoryRegion>> regions;
  const MutexLock lock(mutex_);
  regions.reserve(regions_.size());
  for (const auto& [name, region] : regions_) regions.push_back(region);
  return regions;
}

Result<SharedMemoryPlace> SharedMemoryRegistry::Locate(std::string_view name, std::uint64_t offset,
                                                       std::uint64_t bytes) const {
  SharedMemoryPlace place{Find(name), offset, bytes};
  if (place.region == nullptr) {
    return Error(StatusCode::kInvalidArgument, "shared memory region '{}' is not registered", name);
  }
  DULY_RETURN_IF_ERROR(place.region->CheckPart(offset, bytes));
  return place;
}

Result<Buffer> SharedMemoryRegistry::Copy(const SharedMemoryPlace& place) const {
  const auto exhausted = [&] {
    return Error(StatusCode::kResourceExhausted,
                 "no memory is left for {} bytes of shared memory region '{}'", place.bytes,
                 place.region->name());
  };
  try {
    auto allocated = MemoryBudget::Allocate(copies_, static_cast<std::size_t>(place.bytes));
    if (!allocated) return exhausted();
    auto& [buffer, memory] = *allocated;
    DULY_RETURN_IF_ERROR(place.region->Read(place.offset, memory));
    return std::move(buffer);
  } catch (const std::bad_alloc&) {
    return exhausted();
  }
}

}  // namespace duly
