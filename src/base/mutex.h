// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

// Clang's thread-safety analysis; other compilers see nothing. std::mutex of libstdc++ carries no
// annotations, hence this wrapper.
#if defined(__clang__)
#define DULY_TSA(x) __attribute__((x))
#else
#define DULY_TSA(x)
#endif
#define DULY_GUARDED_BY(mutex) DULY_TSA(guarded_by(mutex))
#define DULY_REQUIRES(...) DULY_TSA(requires_capability(__VA_ARGS__))
#define DULY_EXCLUDES(...) DULY_TSA(locks_excluded(__VA_ARGS__))

namespace duly {

class DULY_TSA(capability("mutex")) Mutex {
 public:
  void Lock() DULY_TSA(acquire_capability()) { mutex_.lock(); }
  void Unlock() DULY_TSA(release_capability()) { mutex_.unlock(); }
  // For std::condition_variable_any and std::unique_lock.
  void lock() DULY_TSA(acquire_capability()) { mutex_.lock(); }
  void unlock() DULY_TSA(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class DULY_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) DULY_TSA(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() DULY_TSA(release_capability()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace duly
