// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/library.h"

#include "base/log.h"

namespace duly::onnx {
namespace {

// Failures come back as exceptions too and are reported by whoever asked for the work, so what the
// library logs is detail.
void ORT_API_CALL Log(void* /*param*/, OrtLoggingLevel severity, const char* category,
                      const char* log_id, const char* code_location, const char* message) {
  spdlog::log(severity >= ORT_LOGGING_LEVEL_FATAL ? spdlog::level::err : spdlog::level::debug,
              "onnxruntime: {} {} {}: {}", category, log_id, code_location, message);
}

OrtLoggingLevel LogLevel() {
  return spdlog::should_log(spdlog::level::debug) ? ORT_LOGGING_LEVEL_WARNING
                                                  : ORT_LOGGING_LEVEL_FATAL;
}

}  // namespace

void Scratch::Clear() {
  input_names.clear();
  output_names.clear();
  inputs.clear();
  outputs.clear();
  input_data.clear();
  positions.clear();
  batch_outputs.clear();
}

Library::Library()
    : env_(LogLevel(), "duly", &Log, nullptr),
      memory_(Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault)) {}

}  // namespace duly::onnx
