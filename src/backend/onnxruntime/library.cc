// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/library.h"

#include <utility>

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

std::span<std::byte> Scratch::GatherSpace(std::size_t index, std::size_t size) {
  if (gather_space_.size() <= index) gather_space_.resize(index + 1);
  Space& space = gather_space_[index];
  if (space.bytes.size() < size) {
    space = Space();
    auto [buffer, bytes] = Buffer::Allocate(size);
    space.buffer = std::move(buffer);
    space.bytes = bytes;
  }
  return space.bytes.first(size);
}

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

std::unique_ptr<Scratch> Library::TakeScratch() {
  {
    const MutexLock lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Scratch> scratch = std::move(free_.back());
      free_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>();
}

void Library::ReturnScratch(std::unique_ptr<Scratch> scratch) {
  scratch->Clear();
  const MutexLock lock(mutex_);
  free_.push_back(std::move(scratch));
}

}  // namespace duly::onnx
