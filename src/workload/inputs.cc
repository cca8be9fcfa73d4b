// SPDX-License-Identifier: Apache-2.0
#include "workload/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/yaml_reader.h"

namespace duly::workload {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are used as they lie in files");

constexpr std::size_t kMaxDataBytes = std::size_t{8} << 30;
constexpr std::uint32_t kMostRows = 1U << 28;

// The contents of the file that `value` names, owned by a Buffer; nothing after a fault.
std::optional<Buffer> ReadData(const YamlValue& value) {
  const std::optional<std::string> file = value.AsFile();
  if (!file) return std::nullopt;
  Result<std::string> contents = ReadFile(*file, kMaxDataBytes);
  if (!contents) {
    value.Fail(fmt::format("{} cannot be read: {}", *file, contents.error().message()), "");
    return std::nullopt;
  }
  auto owner = std::make_shared<const std::string>(std::move(*contents));
  const std::span<const std::byte> bytes = std::as_bytes(std::span(*owner));
  return Buffer(std::move(owner), bytes);
}

Shape ReadShape(const YamlValue& value) {
  Shape shape;
  for (const YamlValue& item : value.AsList()) {
    shape.push_back(item.AsInteger(1, std::numeric_limits<std::int32_t>::max()).value_or(1));
  }
  return shape;
}

InputTensor ReadInput(YamlMap map, std::uint32_t rows) {
  InputTensor input;
  input.spec.name = map.Required("name").AsText().value_or("");
  const YamlValue type = map.Required("datatype");
  if (const std::optional<std::string> name = type.AsText()) {
    const std::optional<DataType> parsed = ParseDataType(*name);
    if (!parsed || ElementSize(*parsed) == 0) {
      type.Fail(fmt::format("datatype is '{}'", *name), "a type of fixed size, such as FP32");
    }
    input.spec.type = parsed.value_or(DataType::kFp32);
  }
  const YamlValue shape = map.Required("row_shape");
  input.spec.shape = ReadShape(shape);
  const std::optional<std::int64_t> elements = ElementCount(input.spec.shape);
  if (!elements || *elements > std::numeric_limits<std::int32_t>::max()) {
    shape.Fail("the row is too large", "fewer than 2^31 elements");
    static_cast<void>(map["file"]);
    return input;
  }
  input.row_bytes = static_cast<std::size_t>(*elements) * ElementSize(input.spec.type);
  const YamlValue file = map.Required("file");
  if (const std::optional<Buffer> data = ReadData(file)) {
    input.data = *data;
    if (data->size() != rows * input.row_bytes) {
      file.Fail(fmt::format("the file has {} bytes", data->size()),
                fmt::format("{} rows of {} bytes", rows, input.row_bytes));
    }
  }
  return input;
}

ExpectedAnswers ReadExpected(YamlMap map, std::uint32_t rows) {
  using How = ExpectedAnswers::How;
  using Basis = ExpectedAnswers::Basis;
  ExpectedAnswers expected;
  expected.output = map.Required("output").AsText().value_or("");
  const std::optional<How> how =
      map.Required("how").AsChoice<How>({{"argmax", How::kArgmax}, {"close", How::kClose}});
  expected.how = how.value_or(How::kArgmax);
  expected.basis =
      map["basis"]
          .AsChoice<Basis>({{"reference", Basis::kReference}, {"truth", Basis::kTruth}})
          .value_or(Basis::kReference);
  for (const YamlValue& name : map["names"].AsList()) static_cast<void>(name.AsText());
  const YamlValue labels = how == How::kArgmax ? map.Required("labels") : map["labels"];
  for (const YamlValue& label : labels.AsList()) {
    expected.labels.push_back(label.AsCount(0, kMostRows).value_or(0));
  }
  if (labels.present() && expected.labels.size() != rows) {
    labels.Fail(fmt::format("{} labels", expected.labels.size()),
                fmt::format("one for each of {} rows", rows));
  }
  const YamlValue file = how == How::kClose ? map.Required("file") : map["file"];
  expected.atol = map["atol"].AsNumber(0, 1e300).value_or(0);
  if (const std::optional<Buffer> values = ReadData(file)) {
    expected.values_per_row = values->size() / sizeof(float) / std::max(rows, 1U);
    expected.values.resize(rows * expected.values_per_row);
    if (expected.values.empty() || values->size() != expected.values.size() * sizeof(float)) {
      file.Fail(fmt::format("the file has {} bytes", values->size()),
                fmt::format("{} rows of FP32 values", rows));
    } else {
      std::memcpy(expected.values.data(), values->data().data(), values->size());
    }
  }
  return expected;
}

template <typename T>
bool RowIsCorrect(const ExpectedAnswers& expected, std::size_t row, const std::byte* data,
                  std::size_t elements) {
  const auto at = [data](std::size_t i) {
    T value;
    std::memcpy(&value, data + i * sizeof(T), sizeof(T));
    return value;
  };
  if (expected.how == ExpectedAnswers::How::kArgmax) {
    const std::size_t label = expected.labels[row];
    if (label >= elements) return false;
    for (std::size_t i = 0; i < elements; ++i) {
      // Also false when the answer is not a number.
      if (i != label && !(at(i) < at(label) || (at(i) == at(label) && label < i))) return false;
    }
    return true;
  }
  if (elements != expected.values_per_row) return false;
  for (std::size_t i = 0; i < elements; ++i) {
    const double difference =
        static_cast<double>(at(i)) - static_cast<double>(expected.values[row * elements + i]);
    if (!(std::abs(difference) <= expected.atol)) return false;
  }
  return true;
}

using RowCheck = bool (*)(const ExpectedAnswers&, std::size_t, const std::byte*, std::size_t);

RowCheck CheckOf(DataType type) {
  switch (type) {
    case DataType::kBool:
    case DataType::kUint8:
      return RowIsCorrect<std::uint8_t>;
    case DataType::kUint16:
      return RowIsCorrect<std::uint16_t>;
    case DataType::kUint32:
      return RowIsCorrect<std::uint32_t>;
    case DataType::kUint64:
      return RowIsCorrect<std::uint64_t>;
    case DataType::kInt8:
      return RowIsCorrect<std::int8_t>;
    case DataType::kInt16:
      return RowIsCorrect<std::int16_t>;
    case DataType::kInt32:
      return RowIsCorrect<std::int32_t>;
    case DataType::kInt64:
      return RowIsCorrect<std::int64_t>;
    case DataType::kFp32:
      return RowIsCorrect<float>;
    case DataType::kFp64:
      return RowIsCorrect<double>;
    case DataType::kFp16:
    case DataType::kBf16:
    case DataType::kBytes:
      break;
  }
  return nullptr;
}

}  // namespace

InputSet ReadInputs(const std::string& file, Faults& faults) {
  InputSet set;
  LoadYaml(file, faults, [&](YamlMap& root) {
    set.model = root["model"].AsText().value_or("");
    set.rows = root.Required("rows").AsCount(1, kMostRows).value_or(0);
    const YamlValue inputs = root.Required("inputs");
    for (const YamlValue& item : inputs.AsList()) {
      set.inputs.push_back(ReadInput(item.AsMap(), set.rows));
    }
    if (const YamlValue expected = root["expected"]; expected.present()) {
      set.expected = ReadExpected(expected.AsMap(), set.rows);
    }
  });
  if (faults.empty() && set.inputs.empty()) {
    faults.Add({file, 0, 0, "no input", "at least one under 'inputs'"});
  }
  return set;
}

std::size_t CountCorrect(const ExpectedAnswers& expected, std::size_t first_row, std::size_t rows,
                         std::size_t set_rows, DataType type, std::span<const std::byte> data) {
  const RowCheck check = CheckOf(type);
  if (check == nullptr || rows == 0 || data.empty()) return 0;
  const std::size_t elements = data.size() / ElementSize(type) / rows;
  if (elements * rows * ElementSize(type) != data.size()) return 0;
  std::size_t correct = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    const std::byte* row = data.data() + i * elements * ElementSize(type);
    if (check(expected, (first_row + i) % set_rows, row, elements)) ++correct;
  }
  return correct;
}

}  // namespace duly::workload
