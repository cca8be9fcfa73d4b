// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <onnxruntime_cxx_api.h>

#include <string>

#include "base/result.h"

namespace duly::onnx {

// ONNX Runtime's shared library, loaded and made ready for its C++ API (Ort::) by the first call:
// commands that run no model need none, and a server without its models saves 3 MB. It stays until
// the process ends. kInternal: there is no such library, or it is older than the headers.
// Threading: any.
Result<const OrtApiBase*> LoadOnnxRuntime();
// "1.31.1", or "(not found)".
std::string OnnxRuntimeVersion();

}  // namespace duly::onnx
