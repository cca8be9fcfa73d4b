// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/strings.h"

#include <cstdint>
#include <cstring>
#include <limits>

namespace duly::onnx {

Ort::Value MakeStringTensor(std::span<const std::int64_t> shape,
                            std::span<const std::string_view> elements) {
  Ort::AllocatorWithDefaultOptions allocator;
  Ort::Value tensor = Ort::Value::CreateTensor(allocator, shape.data(), shape.size(),
                                               ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    // Unlike the functions that fill in C strings, this one takes zero bytes.
    char* const to = tensor.GetResizedStringTensorElementBuffer(i, elements[i].size());
    if (!elements[i].empty()) std::memcpy(to, elements[i].data(), elements[i].size());
  }
  return tensor;
}

Result<EncodedStrings> EncodeStrings(const Ort::Value& tensor, std::size_t elements,
                                     std::size_t rows) {
  using Length = std::uint32_t;
  const std::size_t text_size = elements == 0 ? 0 : tensor.GetStringTensorDataLength();
  std::vector<char> text(text_size);
  std::vector<std::size_t> offsets(elements);
  if (elements > 0) {
    tensor.GetStringTensorContent(text.data(), text.size(), offsets.data(), offsets.size());
  }
  offsets.push_back(text_size);

  EncodedStrings encoded;
  auto [buffer, bytes] = Buffer::Allocate(text_size + elements * sizeof(Length));
  encoded.row_offsets.reserve(rows + 1);
  const std::size_t per_row = elements / rows;
  std::size_t position = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    encoded.row_offsets.push_back(position);
    for (std::size_t i = row * per_row; i < (row + 1) * per_row; ++i) {
      const std::size_t size = offsets[i + 1] - offsets[i];
      if (size > std::numeric_limits<Length>::max()) {
        return Error(StatusCode::kInternal, "a string of {} bytes cannot be answered", size);
      }
      const auto length = static_cast<Length>(size);
      std::memcpy(bytes.data() + position, &length, sizeof(length));
      position += sizeof(length);
      if (size > 0) std::memcpy(bytes.data() + position, text.data() + offsets[i], size);
      position += size;
    }
  }
  encoded.row_offsets.push_back(position);
  encoded.data = std::move(buffer);
  return encoded;
}

}  // namespace duly::onnx
