// SPDX-License-Identifier: Apache-2.0
#include "server/classification.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace duly {
namespace {

using LabelList = std::span<const std::string>;

// Elements of FP16 and BF16.
struct Half {
  std::uint16_t bits;
};
struct Brain {
  std::uint16_t bits;
};

template <typename T>
T ValueOf(T element) {
  return element;
}

float ValueOf(Half element) { return FromFp16(element.bits); }
float ValueOf(Brain element) { return FromBf16(element.bits); }

template <typename T>
bool Precedes(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(b)) return !std::isnan(a);
  }
  return a > b;
}

template <typename Element>
Buffer LargestOf(std::span<const std::byte> data, std::size_t rows, std::size_t classes,
                 std::size_t count, LabelList labels) {
  using Value = decltype(ValueOf(Element{}));
  std::vector<Value> values(classes);
  std::vector<std::size_t> order(classes);
  auto texts = std::make_shared<std::vector<std::byte>>();
  fmt::memory_buffer text;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::byte* const begin = data.data() + row * classes * sizeof(Element);
    for (std::size_t i = 0; i < classes; ++i) {
      Element element{};
      std::memcpy(&element, begin + i * sizeof(Element), sizeof(Element));
      values[i] = ValueOf(element);
    }
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count),
                      order.end(), [&](std::size_t a, std::size_t b) {
                        if (Precedes(values[a], values[b])) return true;
                        return !Precedes(values[b], values[a]) && a < b;
                      });
    for (const std::size_t index : std::span(order).first(count)) {
      text.clear();
      if constexpr (std::is_floating_point_v<Value>) {
        fmt::format_to(std::back_inserter(text), "{:f}:{}", static_cast<double>(values[index]),
                       index);
      } else {
        fmt::format_to(std::back_inserter(text), "{}:{}", values[index], index);
      }
      if (index < labels.size()) {
        fmt::format_to(std::back_inserter(text), ":{}", labels[index]);
      }
      AppendBytesElement({text.data(), text.size()}, *texts);
    }
  }
  const std::span<const std::byte> view(*texts);
  return Buffer(std::move(texts), view);
}

Buffer Largest(DataType type, std::span<const std::byte> data, std::size_t rows,
               std::size_t classes, std::size_t count, LabelList labels) {
  switch (type) {
    case DataType::kUint8:
      return LargestOf<std::uint8_t>(data, rows, classes, count, labels);
    case DataType::kUint16:
      return LargestOf<std::uint16_t>(data, rows, classes, count, labels);
    case DataType::kUint32:
      return LargestOf<std::uint32_t>(data, rows, classes, count, labels);
    case DataType::kUint64:
      return LargestOf<std::uint64_t>(data, rows, classes, count, labels);
    case DataType::kInt8:
      return LargestOf<std::int8_t>(data, rows, classes, count, labels);
    case DataType::kInt16:
      return LargestOf<std::int16_t>(data, rows, classes, count, labels);
    case DataType::kInt32:
      return LargestOf<std::int32_t>(data, rows, classes, count, labels);
    case DataType::kInt64:
      return LargestOf<std::int64_t>(data, rows, classes, count, labels);
    case DataType::kFp16:
      return LargestOf<Half>(data, rows, classes, count, labels);
    case DataType::kBf16:
      return LargestOf<Brain>(data, rows, classes, count, labels);
    case DataType::kFp32:
      return LargestOf<float>(data, rows, classes, count, labels);
    case DataType::kFp64:
      return LargestOf<double>(data, rows, classes, count, labels);
    case DataType::kBool:
    case DataType::kBytes:
      break;
  }
  return Buffer();
}

}  // namespace

bool IsClassifiable(DataType type) { return type != DataType::kBool && type != DataType::kBytes; }

Result<Tensor> Classify(const ModelSpec& model, const Tensor& output, std::uint32_t count) {
  const bool batches = model.max_rows > 0;
  const std::span<const std::int64_t> shape(output.shape);
  const std::optional<std::int64_t> elements = ElementCount(shape);
  const std::size_t element_size = ElementSize(output.type);
  if (!IsClassifiable(output.type) || !elements || (batches && shape.empty()) ||
      output.data.size() != static_cast<std::size_t>(*elements) * element_size) {
    return Error(StatusCode::kInternal, "output '{}' of model '{}' cannot be classified: {} {}",
                 output.name, model.name, ToString(output.type), ToString(output.shape));
  }
  const std::int64_t rows = batches ? shape[0] : 1;
  const std::int64_t classes = batches ? ElementCount(shape.subspan(1)).value_or(0) : *elements;
  const std::int64_t kept = std::min<std::int64_t>(count, classes);
  LabelList labels;
  for (const auto& [name, of_output] : model.labels) {
    if (name == output.name) labels = of_output;
  }
  Tensor answer;
  answer.name = output.name;
  answer.type = DataType::kBytes;
  answer.shape = batches ? Shape{rows, kept} : Shape{kept};
  answer.data = Largest(output.type, output.data.data(), static_cast<std::size_t>(rows),
                        static_cast<std::size_t>(classes), static_cast<std::size_t>(kept), labels);
  return answer;
}

}  // namespace duly
