// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/tensor.h"

namespace duly::onnx {

// A string tensor; elements may hold any bytes. May throw Ort::Exception.
Ort::Value MakeStringTensor(std::span<const std::int64_t> shape,
                            std::span<const std::string_view> elements);

struct EncodedStrings {
  Buffer data;  // in the protocol's form
  // Where each row begins, and the end: rows + 1 entries.
  std::vector<std::size_t> row_offsets;
};

// The `elements` elements of a string tensor, in `rows` rows of the same number of elements.
// kInternal when an element is longer than its 32-bit length can say. May throw Ort::Exception.
Result<EncodedStrings> EncodeStrings(const Ort::Value& tensor, std::size_t elements,
                                     std::size_t rows);

}  // namespace duly::onnx
