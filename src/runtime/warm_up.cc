// SPDX-License-Identifier: Apache-2.0
#include "runtime/warm_up.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/random.h"
#include "runtime/measure.h"

namespace duly {
namespace {

// Of an input: more is a mistake.
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

// Floating-point numbers in [0, 1), whole ones in [0, 128), which are letters of most vocabularies.
template <typename T>
void FillRandomly(std::span<std::byte> bytes, RandomStream& random) {
  for (std::size_t offset = 0; offset < bytes.size(); offset += sizeof(T)) {
    const double uniform = random.Uniform();
    const T value = static_cast<T>(std::is_floating_point_v<T> ? uniform : uniform * 128);
    std::memcpy(bytes.data() + offset, &value, sizeof(value));
  }
}

void FillRandomly(DataType type, std::span<std::byte> bytes, RandomStream& random) {
  switch (type) {
    case DataType::kBool:
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Below(2));
      return;
    case DataType::kUint8:
    case DataType::kInt8:
      return FillRandomly<std::uint8_t>(bytes, random);
    case DataType::kUint16:
    case DataType::kInt16:
      return FillRandomly<std::uint16_t>(bytes, random);
    case DataType::kUint32:
    case DataType::kInt32:
      return FillRandomly<std::uint32_t>(bytes, random);
    case DataType::kUint64:
    case DataType::kInt64:
      return FillRandomly<std::uint64_t>(bytes, random);
    case DataType::kFp16:
    case DataType::kBf16:
      // Below 1 in either: the exponent stays under that of 1.
      for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint16_t)) {
        const auto bits =
            static_cast<std::uint16_t>(random.Below(type == DataType::kFp16 ? 0x3C00 : 0x3F80));
        std::memcpy(bytes.data() + i, &bits, sizeof(bits));
      }
      return;
    case DataType::kFp32:
      return FillRandomly<float>(bytes, random);
    case DataType::kFp64:
      return FillRandomly<double>(bytes, random);
    case DataType::kBytes:
      return;  // empty texts
  }
}

// The data of one row.
Result<std::string> RowOf(const WarmUpInput& input) {
  const std::optional<std::int64_t> elements = ElementCount(input.dims);
  const std::size_t size =
      input.type == DataType::kBytes ? sizeof(std::uint32_t) : ElementSize(input.type);
  if (!elements || static_cast<std::size_t>(*elements) > kMaxBytes / size) {
    return Error(StatusCode::kInvalidArgument, "dims are {}: expected at most {} bytes",
                 ToString(input.dims), kMaxBytes);
  }
  const std::size_t bytes = static_cast<std::size_t>(*elements) * size;
  if (input.data != WarmUpInput::Data::kFile) {
    std::string row(bytes, '\0');
    if (input.data == WarmUpInput::Data::kRandom) {
      RandomStream random(1, input.name);
      FillRandomly(input.type, std::as_writable_bytes(std::span(row)), random);
    }
    return row;
  }
  Result<std::string> row = ReadFile(input.file, kMaxBytes);
  if (!row) return Error(row.error().WithContext(input.file));
  if (input.type == DataType::kBytes) {
    if (!SplitBytesTensor(std::as_bytes(std::span(*row)), *elements)) {
      return Error(StatusCode::kInvalidArgument,
                   "{}: expected {} elements, each with its length before it", input.file,
                   *elements);
    }
  } else if (row->size() != bytes) {
    return Error(StatusCode::kInvalidArgument, "{} has {} bytes: expected {}", input.file,
                 row->size(), bytes);
  }
  return row;
}

Result<Tensor> TensorOf(const WarmUpInput& input, const TensorSpec& spec, std::uint32_t rows,
                        const ModelSpec& model) {
  Tensor tensor;
  tensor.name = spec.name;
  tensor.type = spec.type;
  if (model.max_rows > 0) tensor.shape.push_back(rows);
  tensor.shape.insert(tensor.shape.end(), input.dims.begin(), input.dims.end());
  const bool fits =
      input.type == spec.type &&
      std::ranges::equal(tensor.shape, spec.shape, [](std::int64_t given, std::int64_t expected) {
        return expected < 0 || given == expected;
      });
  if (!fits) {
    return Error(StatusCode::kInvalidArgument, "it is {} {}: expected {} {}", ToString(input.type),
                 ToString(tensor.shape), ToString(spec.type), ToString(spec.shape));
  }
  DULY_ASSIGN_OR_RETURN(const std::string row, RowOf(input));
  if (row.size() > kMaxBytes / rows) {
    return Error(StatusCode::kInvalidArgument, "{} rows of {} bytes: expected at most {} bytes",
                 rows, row.size(), kMaxBytes);
  }
  auto [buffer, bytes] = Buffer::Allocate(row.size() * rows);
  for (std::uint32_t i = 0; i < rows && !row.empty(); ++i) {
    std::memcpy(bytes.data() + i * row.size(), row.data(), row.size());
  }
  tensor.data = std::move(buffer);
  return tensor;
}

Status Run(std::span<const Tensor> inputs, std::uint32_t rows, std::uint32_t runs,
           LoadedVariant& loaded) {
  Status status;
  for (std::uint32_t i = 0; i < runs && status.ok(); ++i) {
    RunItem item;
    item.inputs = inputs;
    item.rows = rows;
    RunTimes times;
    status = loaded.Run(std::span(&item, 1), times);
  }
  return status;
}

Status RunSample(const WarmUpSample& sample, const ModelSpec& model, LoadedVariant& loaded) {
  const Result<std::vector<Tensor>> inputs = WarmUpInputs(sample, model);
  if (!inputs) return inputs.error();
  return Run(*inputs, sample.rows, sample.runs, loaded);
}

}  // namespace

Result<std::vector<Tensor>> WarmUpInputs(const WarmUpSample& sample, const ModelSpec& model) {
  const std::uint32_t most = std::max(model.max_rows, 1U);
  if (sample.rows < 1 || sample.rows > most) {
    return Error(StatusCode::kInvalidArgument, "it has {} rows: expected from 1 to {}", sample.rows,
                 most);
  }
  for (const WarmUpInput& input : sample.inputs) {
    if (std::ranges::find(model.inputs, input.name, &TensorSpec::name) == model.inputs.end()) {
      return Error(StatusCode::kInvalidArgument, "the model has no input '{}'", input.name);
    }
  }
  std::vector<Tensor> zeros = ZeroInputs(model, sample.rows);
  std::vector<Tensor> inputs;
  for (const TensorSpec& spec : model.inputs) {
    const auto given = std::ranges::find(sample.inputs, spec.name, &WarmUpInput::name);
    if (given == sample.inputs.end()) {
      if (spec.optional) continue;
      inputs.push_back(std::move(*std::ranges::find(zeros, spec.name, &Tensor::name)));
      continue;
    }
    Result<Tensor> tensor = TensorOf(*given, spec, sample.rows, model);
    if (!tensor) return Error(tensor.error().WithContext(fmt::format("input '{}'", spec.name)));
    inputs.push_back(std::move(*tensor));
  }
  return inputs;
}

Status WarmUp(const ModelSpec& model, LoadedVariant& loaded) {
  const Status on_zeros = Run(ZeroInputs(model, 1), 1, model.warmup_runs, loaded);
  if (!on_zeros.ok()) return on_zeros.WithContext("a run on zeros failed");
  for (const WarmUpSample& sample : model.warmup_samples) {
    const Status status = RunSample(sample, model, loaded);
    if (!status.ok()) {
      return status.WithContext(fmt::format("warm-up sample '{}' failed", sample.name));
    }
  }
  return Status();
}

}  // namespace duly
