// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/plug_in/duly_backend.h"
#include "base/result.h"
#include "base/status.h"
#include "model/model_spec.h"
#include "model/tensor.h"

namespace duly::plug_in {

// The library of a back end, with a device opened in it that is closed at the end.
// Threading: as duly_backend.h says.
class Device {
 public:
  // Errors as MakePlugInBackend.
  static Result<std::shared_ptr<Device>> Open(const DeviceSpec& spec);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Complete: none is null.
  const DulyBackend& functions() const { return *functions_; }
  DulyDevice* handle() const { return handle_; }
  const std::string& file() const { return file_; }
  // "tflite 2.14 (libduly_tflite.so)".
  std::string description() const;

 private:
  Device(std::string file, const DulyBackend* functions)
      : file_(std::move(file)), functions_(functions) {}

  const std::string file_;
  const DulyBackend* const functions_;
  DulyDevice* handle_ = nullptr;
};

// kOk, or the failure; `what` was asked for where the message is empty. A code that the interface
// does not have is kInternal.
Status ToStatus(DulyCode code, const char* message, std::string_view what);

// What function(message, capacity), one of the interface, answers; an exception is kInternal.
template <typename Function>
Status Call(std::string_view what, Function function) {
  std::array<char, 1024> message{};
  DulyCode code = DULY_INTERNAL;
  try {
    code = function(message.data(), message.size());
  } catch (...) {
    return Status(StatusCode::kInternal,
                  std::string(what) + " threw an exception: expected a code");
  }
  message.back() = '\0';
  return ToStatus(code, message.data(), what);
}

// Tensors as a back end describes them. kInternal: they cannot be so; the message says which one of
// `side` ("input") and why.
Result<std::vector<TensorSpec>> ReadSpecs(const DulyTensorSpec* specs, std::size_t count,
                                          std::string_view side);
// These refer to their arguments.
std::vector<DulyTensorSpec> WriteSpecs(std::span<const TensorSpec> specs);
template <typename Pairs>
std::vector<DulyOption> WriteOptions(const Pairs& pairs) {
  std::vector<DulyOption> options;
  for (const auto& [key, value] : pairs) options.push_back({key.c_str(), value.c_str()});
  return options;
}

}  // namespace duly::plug_in
