// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fault.h"
#include "model/tensor.h"

namespace duly::workload {

// Real inputs of one model, and the answers to expect. Read from YAML:
//
//   model: fashion
//   rows: 500
//   inputs:
//     - {name: image, datatype: FP32, row_shape: [1, 28, 28], file: fashion.bin}
//   expected:
//     output: logits
//     how: argmax            # the largest element of a row's answer has the index `labels` says
//     labels: [9, 2, 1]      # one a row
//     basis: truth           # the labels are facts (correct answers measure accuracy), or
//                            # reference: what any correct server answers (the default)
//     names: [boot, shirt]   # optional, one a row, for people
// or
//     how: close             # within atol of `file`: FP32, little-endian, the same count per row
//     file: vad.output.bin
//     atol: 0.001
//
// `file` holds `rows` rows of little-endian elements, row-major. A row is what one request of one
// row carries: for a model that batches, without the leading dimension.
struct InputTensor {
  TensorSpec spec;  // of one row
  Buffer data;
  std::size_t row_bytes = 0;
};

struct ExpectedAnswers {
  enum class How : std::uint8_t { kArgmax, kClose };
  enum class Basis : std::uint8_t { kReference, kTruth };
  std::string output;
  How how = How::kArgmax;
  Basis basis = Basis::kReference;
  std::vector<std::uint32_t> labels;  // kArgmax: one a row
  std::vector<float> values;          // kClose: values_per_row a row
  std::size_t values_per_row = 0;
  double atol = 0;
};

struct InputSet {
  std::string model;  // empty: any
  std::uint32_t rows = 0;
  std::vector<InputTensor> inputs;
  std::optional<ExpectedAnswers> expected;
};

// Reads a description and the files that it names. Adds every fault that it finds.
InputSet ReadInputs(const std::string& file, Faults& faults);

// How many of `rows` rows, from `first_row` of the set (going round at its end, which is at
// set_rows), are answered as expected by an output tensor of these rows. 0 for data that cannot be
// split into rows, and for types that hold no numbers (BYTES, FP16, BF16).
std::size_t CountCorrect(const ExpectedAnswers& expected, std::size_t first_row, std::size_t rows,
                         std::size_t set_rows, DataType type, std::span<const std::byte> data);

}  // namespace duly::workload
