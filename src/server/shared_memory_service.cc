// SPDX-License-Identifier: Apache-2.0
#include "server/shared_memory_service.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

namespace duly {

Status SharedMemoryService::CheckAllowed() const {
  return registry_ == nullptr ? SharedMemoryNotAllowed() : Status();
}

Result<inference::SystemSharedMemoryStatusResponse> SharedMemoryService::SystemStatus(
    std::string_view name) const {
  DULY_RETURN_IF_ERROR(CheckAllowed());
  std::vector<std::shared_ptr<const SharedMemoryRegion>> regions;
  if (name.empty()) {
    regions = registry_->Regions();
  } else {
    regions.push_back(registry_->Find(name));
    if (regions[0] == nullptr) {
      return Error(StatusCode::kNotFound, "shared memory region '{}' is not registered", name);
    }
  }
  inference::SystemSharedMemoryStatusResponse response;
  for (const auto& region : regions) {
    auto& status = (*response.mutable_regions())[region->name()];
    status.set_name(region->name());
    status.set_key(region->key());
    status.set_offset(region->offset());
    status.set_byte_size(region->bytes());
  }
  return response;
}

Status SharedMemoryService::SystemRegister(
    const inference::SystemSharedMemoryRegisterRequest& request) const {
  if (Status allowed = CheckAllowed(); !allowed.ok()) return allowed;
  return registry_->Register(request.name(), request.key(), request.offset(), request.byte_size());
}

Status SharedMemoryService::SystemUnregister(std::string_view name) const {
  if (Status allowed = CheckAllowed(); !allowed.ok()) return allowed;
  if (name.empty()) {
    registry_->UnregisterAll();
  } else {
    registry_->Unregister(name);
  }
  return Status();
}

Result<inference::CudaSharedMemoryStatusResponse> SharedMemoryService::CudaStatus(
    std::string_view name) const {
  DULY_RETURN_IF_ERROR(CheckAllowed());
  if (!name.empty()) {
    return Error(StatusCode::kNotFound, "CUDA shared memory region '{}' is not registered", name);
  }
  return inference::CudaSharedMemoryStatusResponse();
}

Status SharedMemoryService::CudaRegister(std::string_view name) const {
  if (Status allowed = CheckAllowed(); !allowed.ok()) return allowed;
  return Status(StatusCode::kUnimplemented,
                fmt::format("CUDA shared memory region '{}': this server takes no CUDA memory: "
                            "expected system shared memory",
                            name));
}

Status SharedMemoryService::CudaUnregister() const { return CheckAllowed(); }

}  // namespace duly
