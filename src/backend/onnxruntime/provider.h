// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <onnxruntime_cxx_api.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "model/model_spec.h"

namespace duly::onnx {

// An execution provider of ONNX Runtime, ready for sessions.
// Threading: as Backend; Append() after Find(), which keeps nothing that changes.
class Provider {
 public:
  // Looks for the provider, and loads its plug-in where it has one: once per process and file. It
  // stays until the process ends, because sessions and their memory may refer to it until then.
  // kNotFound: no such plug-in, provider or hardware; the message says what there is instead.
  // kInvalidArgument: a plug-in that cannot be loaded, `cache` of a provider that keeps none.
  // May throw Ort::Exception.
  static Result<Provider> Find(const ProviderSpec& spec, Ort::Env& env);

  // Adds it to the options of a session, before the CPU's, which computes what it does not.
  // kInvalidArgument: options that it does not take. May throw Ort::Exception.
  Status Append(Ort::SessionOptions& options) const;

  // As ONNX Runtime calls it: "CUDAExecutionProvider".
  const std::string& name() const { return name_; }

 private:
  ProviderSpec spec_;  // its options complete
  std::string name_;
#if ORT_API_VERSION >= 22
  std::vector<Ort::ConstEpDevice> devices_;  // of a plug-in
#endif
  Ort::Env* env_ = nullptr;
};

}  // namespace duly::onnx
