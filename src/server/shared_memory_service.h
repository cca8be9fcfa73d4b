// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <inference.pb.h>

#include <string_view>

#include "base/result.h"
#include "server/shared_memory.h"

namespace duly {

// What clients ask and say of shared memory, in the messages of Triton's extension, as ModelService
// does it for models. Everything is kUnimplemented where the operator does not allow shared memory.
// Of CUDA's there is none: its list is empty, to remove from it succeeds (clients remove both kinds
// before they begin), to register fails with kUnimplemented.
// Threading: all methods from any thread.
class SharedMemoryService {
 public:
  // Borrows the registry; null: not allowed.
  explicit SharedMemoryService(SharedMemoryRegistry* registry) : registry_(registry) {}

  // Null where shared memory is not allowed.
  SharedMemoryRegistry* registry() const { return registry_; }

  // name: of one region, kNotFound when there is none; empty: all.
  Result<inference::SystemSharedMemoryStatusResponse> SystemStatus(std::string_view name) const;
  // As SharedMemoryRegistry::Register.
  Status SystemRegister(const inference::SystemSharedMemoryRegisterRequest& request) const;
  // name: of one region, which need not exist; empty: all.
  Status SystemUnregister(std::string_view name) const;

  Result<inference::CudaSharedMemoryStatusResponse> CudaStatus(std::string_view name) const;
  Status CudaRegister(std::string_view name) const;
  Status CudaUnregister() const;

 private:
  Status CheckAllowed() const;

  SharedMemoryRegistry* const registry_;
};

}  // namespace duly
