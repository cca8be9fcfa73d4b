// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/runtime_library.h"

#include <dlfcn.h>

namespace duly::onnx {
namespace {

Result<const OrtApiBase*> Load() {
  // Found as the loader finds every library: by the program's rpath, then in the system's folders.
  void* const library = dlopen(DULY_ONNXRUNTIME_SONAME, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Error(StatusCode::kInternal, "ONNX Runtime could not be loaded: {}", dlerror());
  }
  using GetApiBase = const OrtApiBase*(ORT_API_CALL*)();
  const auto get_api_base = reinterpret_cast<GetApiBase>(dlsym(library, "OrtGetApiBase"));
  if (get_api_base == nullptr) {
    return Error(StatusCode::kInternal, "{} is not ONNX Runtime: {}", DULY_ONNXRUNTIME_SONAME,
                 dlerror());
  }
  const OrtApiBase* const base = get_api_base();
  const OrtApi* const api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    return Error(StatusCode::kInternal, "ONNX Runtime {} is installed: expected 1.{} or later",
                 base->GetVersionString(), ORT_API_VERSION);
  }
  Ort::InitApi(api);
  return base;
}

}  // namespace

Result<const OrtApiBase*> LoadOnnxRuntime() {
  static const Result<const OrtApiBase*> loaded = Load();
  return loaded;
}

std::string OnnxRuntimeVersion() {
  const Result<const OrtApiBase*> runtime = LoadOnnxRuntime();
  return runtime ? (*runtime)->GetVersionString() : "(not found)";
}

}  // namespace duly::onnx
