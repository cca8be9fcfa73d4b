// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/unique_fd.h"

namespace duly {

// For tests: a shared memory object as a client has one, removed at the end.
class SharedObject {
 public:
  explicit SharedObject(std::size_t bytes) : name_(FreshName()) {
    object_ = UniqueFd(shm_open(Key().c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
    DULY_CHECK(object_.valid());
    Resize(bytes);
  }
  ~SharedObject() { Remove(); }
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;

  const std::string& name() const { return name_; }  // without the slash
  std::string Key() const { return '/' + name_; }

  void Resize(std::size_t bytes) {
    DULY_CHECK(ftruncate(object_.get(), static_cast<off_t>(bytes)) == 0);
  }
  std::size_t Size() const {
    struct stat status {};
    DULY_CHECK(fstat(object_.get(), &status) == 0);
    return static_cast<std::size_t>(status.st_size);
  }
  void Remove() { shm_unlink(Key().c_str()); }

  template <typename T>
  void Put(std::size_t offset, std::span<const T> values) {
    DULY_CHECK(pwrite(object_.get(), values.data(), values.size_bytes(),
                      static_cast<off_t>(offset)) == static_cast<ssize_t>(values.size_bytes()));
  }
  template <typename T>
  std::vector<T> Get(std::size_t offset, std::size_t count) const {
    std::vector<T> values(count);
    DULY_CHECK(pread(object_.get(), values.data(), count * sizeof(T), static_cast<off_t>(offset)) ==
               static_cast<ssize_t>(count * sizeof(T)));
    return values;
  }

 private:
  static std::string FreshName() {
    static std::atomic<int> next{0};
    return "duly-test-" + std::to_string(getpid()) + '-' + std::to_string(next.fetch_add(1));
  }

  const std::string name_;
  UniqueFd object_;
};

}  // namespace duly
