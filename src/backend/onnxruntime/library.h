// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/common/batch_output.h"
#include "backend/common/gather.h"

namespace duly::onnx {

// What a run works with; kept from run to run, so that its memory is asked for once.
struct Scratch {
  std::vector<const char*> input_names;
  std::vector<const char*> output_names;
  std::vector<Ort::Value> inputs;
  std::vector<Ort::Value> outputs;
  std::vector<std::span<const std::byte>> input_data;  // what inputs refer to
  std::vector<std::uint32_t> positions;                // in output_names, by output of the variant
  std::vector<BatchOutput> batch_outputs;

  GatherSpace gathered;  // stays

  // Lets go of all that belongs to a run.
  void Clear();
};

// What the variants of one device share. Outlives them and the outputs that they computed.
// Threading: all methods from any thread.
class Library {
 public:
  // Makes ONNX Runtime's environment (one per process, whoever asks; counted by references). May
  // throw Ort::Exception.
  Library();

  Ort::Env& env() { return env_; }
  const Ort::MemoryInfo& memory() const { return memory_; }

  Pool<Scratch>& scratch() { return scratch_; }

 private:
  Ort::Env env_;
  Ort::MemoryInfo memory_;
  Pool<Scratch> scratch_;
};

}  // namespace duly::onnx
