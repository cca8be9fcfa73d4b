// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "base/mutex.h"
#include "server/grpc_call.h"

namespace duly {

// What grpc.health.v1 says. Threading: all methods from any thread.
class GrpcHealth {
 public:
  void SetServing(bool serving);
  bool serving() const;
  // Calls `changed` there and now, and on every change until Forget(watcher); it must not block.
  void Watch(const void* watcher, std::function<void(bool serving)> changed);
  void Forget(const void* watcher);

  // Whether the server has a service of this name; empty: the server as a whole.
  static bool Knows(const std::string& service);

 private:
  mutable Mutex mutex_;
  bool serving_ DULY_GUARDED_BY(mutex_) = false;
  std::unordered_map<const void*, std::function<void(bool)>> watchers_ DULY_GUARDED_BY(mutex_);
};

struct GrpcShared;

// Adds the methods of the service.
void AddHealthMethods(GrpcShared& shared);

}  // namespace duly
