// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "model/tensor.h"

namespace duly::onnx {

// One computed output of a batch, before it is cut.
struct BatchOutput {
  Buffer data;
  Shape shape;
  std::size_t row_size = 0;              // bytes, where all rows have the same
  std::vector<std::size_t> row_offsets;  // else: where rows begin, and the end
};

// What a run works with; kept from run to run, so that its memory is asked for once. A batch of
// images is megabytes: fresh memory would cost more page faults than the gathering costs copying.
struct Scratch {
  std::vector<const char*> input_names;
  std::vector<const char*> output_names;
  std::vector<Ort::Value> inputs;
  std::vector<Ort::Value> outputs;
  std::vector<std::span<const std::byte>> input_data;  // what inputs refer to
  std::vector<std::uint32_t> positions;                // in output_names, by output of the variant
  std::vector<BatchOutput> batch_outputs;

  // At least size bytes for input `index` of a batch.
  std::span<std::byte> GatherSpace(std::size_t index, std::size_t size);
  // Lets go of all that belongs to a run; the gather space stays.
  void Clear();

 private:
  struct Space {
    Buffer buffer;
    std::span<std::byte> bytes;
  };
  std::vector<Space> gather_space_;
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

  // There come to be as many as runs at once, that is the device's slots.
  std::unique_ptr<Scratch> TakeScratch();
  void ReturnScratch(std::unique_ptr<Scratch> scratch);

 private:
  Ort::Env env_;
  Ort::MemoryInfo memory_;
  Mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_ DULY_GUARDED_BY(mutex_);
};

}  // namespace duly::onnx
