// SPDX-License-Identifier: Apache-2.0
#include "server/infer_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "server/classification.h"

namespace duly {
namespace {

// The protocol is little-endian and so is every machine that Duly runs on.
static_assert(std::endian::native == std::endian::little);

std::string NamesOf(const std::vector<TensorSpec>& specs) {
  std::string names;
  for (const TensorSpec& spec : specs) {
    if (!names.empty()) names += ", ";
    names += spec.name;
  }
  return names;
}

std::optional<std::size_t> FindSpec(const std::vector<TensorSpec>& specs, std::string_view name) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return i;
  }
  return std::nullopt;
}

Status BadRequest(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}

Status CheckBytesElements(const TensorSpec& spec, std::span<const std::byte> data,
                          std::int64_t elements) {
  std::int64_t count = 0;
  std::size_t position = 0;
  while (position < data.size()) {
    std::uint32_t length = 0;
    const std::size_t left = data.size() - position;
    if (left >= sizeof(length)) std::memcpy(&length, data.data() + position, sizeof(length));
    if (left < sizeof(length) || left - sizeof(length) < length) {
      return BadRequest(fmt::format("input '{}': the length of element {} reaches past the data",
                                    spec.name, count));
    }
    position += sizeof(length) + length;
    ++count;
  }
  if (count != elements) {
    return BadRequest(
        fmt::format("input '{}': the data holds {} elements: expected {} by its shape", spec.name,
                    count, elements));
  }
  return Status();
}

std::optional<std::uint64_t> AsUnsigned(const ParameterValue& value) {
  if (const auto* u = std::get_if<std::uint64_t>(&value)) return *u;
  const auto* i = std::get_if<std::int64_t>(&value);
  if (i == nullptr || *i < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*i);
}

// Microseconds that do not fit are as good as forever.
Duration FromMicros(std::uint64_t us) {
  constexpr auto kMaxUs =
      static_cast<std::uint64_t>(std::numeric_limits<Duration::rep>::max() / 1000);
  return Duration(static_cast<Duration::rep>(std::min(us, kMaxUs)) * 1000);
}

// Clients send these with their neutral values too.
bool IsUnsetSequence(const ParameterValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return !*flag;
  if (const auto* text = std::get_if<std::string_view>(&value)) return text->empty();
  return AsUnsigned(value) == 0U;
}

}  // namespace

Status SharedMemoryParameters::Set(std::string_view name, const ParameterValue& value) {
  if (name == "shared_memory_region") {
    const auto* text = std::get_if<std::string_view>(&value);
    if (text == nullptr) return BadRequest(fmt::format("'{}': expected a name", name));
    region = *text;
  } else if (name == "shared_memory_byte_size" || name == "shared_memory_offset") {
    const std::optional<std::uint64_t> number = AsUnsigned(value);
    if (!number) return BadRequest(fmt::format("'{}': expected a whole number of bytes", name));
    (name == "shared_memory_offset" ? offset : bytes) = number;
  }
  return Status();
}

InferRequestBuilder::InferRequestBuilder(std::shared_ptr<const ServedModel> model,
                                         const SharedMemoryRegistry* shared_memory)
    : shared_memory_(shared_memory) {
  request_.model = std::move(model);
  request_.inputs.resize(spec().inputs.size());
  has_data_.resize(spec().inputs.size());
}

Result<InferRequestBuilder::Input> InferRequestBuilder::AddInput(std::string_view name,
                                                                 std::string_view datatype,
                                                                 Shape shape) {
  const std::optional<std::size_t> index = FindSpec(spec().inputs, name);
  if (!index) {
    return Error(StatusCode::kInvalidArgument, "input '{}' is not one of model '{}': expected {}",
                 name, spec().name, NamesOf(spec().inputs));
  }
  const TensorSpec& input = spec().inputs[*index];
  Tensor& tensor = request_.inputs[*index];
  if (!tensor.name.empty()) {
    return Error(StatusCode::kInvalidArgument, "input '{}' is given twice", name);
  }
  const std::optional<DataType> type = ParseDataType(datatype);
  if (type != input.type) {
    return Error(StatusCode::kInvalidArgument, "input '{}': datatype '{}': expected {}", name,
                 datatype, ToString(input.type));
  }
  DULY_RETURN_IF_ERROR(CheckShape(input, shape));
  const std::optional<std::int64_t> elements = ElementCount(shape);
  std::size_t bytes = 0;
  if (!elements || __builtin_mul_overflow(static_cast<std::size_t>(*elements),
                                          ElementSize(input.type), &bytes)) {
    return Error(StatusCode::kInvalidArgument, "input '{}': shape {} has too many elements", name,
                 ToString(shape));
  }
  tensor.name = input.name;
  tensor.type = input.type;
  tensor.shape = std::move(shape);
  return Input{*index, &input, *elements, bytes};
}

Status InferRequestBuilder::CheckShape(const TensorSpec& spec, const Shape& shape) {
  bool fits = shape.size() == spec.shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] >= 0 && (spec.shape[i] < 0 || spec.shape[i] == shape[i]);
  }
  if (!fits) {
    return BadRequest(fmt::format("input '{}': shape {}: expected {}", spec.name, ToString(shape),
                                  ToString(spec.shape)));
  }
  const std::uint32_t max_rows = this->spec().max_rows;
  if (max_rows == 0) return Status();
  if (shape.empty() || shape[0] < 1 || shape[0] > max_rows) {
    return BadRequest(
        fmt::format("input '{}': shape {}: expected 1 to {} rows in the first dimension", spec.name,
                    ToString(shape), max_rows));
  }
  const auto rows = static_cast<std::uint32_t>(shape[0]);
  if (has_rows_ && rows != request_.rows) {
    return BadRequest(fmt::format("input '{}': shape {}: expected {} rows as in the other inputs",
                                  spec.name, ToString(shape), request_.rows));
  }
  request_.rows = rows;
  has_rows_ = true;
  return Status();
}

Status InferRequestBuilder::SetData(const Input& input, Buffer data) {
  const TensorSpec& spec = *input.spec;
  if (spec.type == DataType::kBytes) {
    if (Status status = CheckBytesElements(spec, data.data(), input.elements); !status.ok()) {
      return status;
    }
  } else if (data.size() != input.bytes) {
    return BadRequest(fmt::format("input '{}': {} bytes of data: expected {} by its shape",
                                  spec.name, data.size(), input.bytes));
  }
  if (spec.type == DataType::kBool) {
    const auto* bad = std::find_if(data.data().data(), data.data().data() + data.size(),
                                   [](std::byte b) { return b > std::byte{1}; });
    if (bad != data.data().data() + data.size()) {
      return BadRequest(fmt::format("input '{}': a BOOL byte is {}: expected 0 or 1", spec.name,
                                    std::to_integer<int>(*bad)));
    }
  }
  const std::size_t alignment = std::max<std::size_t>(ElementSize(spec.type), 1);
  if (reinterpret_cast<std::uintptr_t>(data.data().data()) % alignment != 0) {
    data = Buffer::CopyOf(data.data());
  }
  request_.inputs[input.index].data = std::move(data);
  has_data_[input.index] = true;
  return Status();
}

Result<SharedMemoryPlace> InferRequestBuilder::Locate(const SharedMemoryParameters& place) const {
  if (shared_memory_ == nullptr) return Error(SharedMemoryNotAllowed());
  if (!place.region || !place.bytes) {
    return Error(StatusCode::kInvalidArgument, "'{}' is missing",
                 place.region ? "shared_memory_byte_size" : "shared_memory_region");
  }
  return shared_memory_->Locate(*place.region, place.offset.value_or(0), *place.bytes);
}

Status InferRequestBuilder::SetData(const Input& input, const SharedMemoryParameters& place) {
  const TensorSpec& spec = *input.spec;
  const auto in_context = [&](const Status& status) {
    return status.WithContext(fmt::format("input '{}'", spec.name));
  };
  const Result<SharedMemoryPlace> found = Locate(place);
  if (!found) return in_context(found.error());
  if (spec.type != DataType::kBytes && found->bytes != input.bytes) {
    return BadRequest(
        fmt::format("input '{}': shared_memory_byte_size {} in region '{}': expected {} by its "
                    "shape and datatype",
                    spec.name, found->bytes, *place.region, input.bytes));
  }
  Result<Buffer> data = shared_memory_->Copy(*found);
  if (!data) return in_context(data.error());
  const Status set = SetData(input, std::move(*data));
  if (set.ok()) return set;
  return Status(set.code(),
                fmt::format("{} (shared memory region '{}')", set.message(), *place.region));
}

Result<std::uint32_t> InferRequestBuilder::AddOutput(std::string_view name) {
  const std::optional<std::size_t> index = FindSpec(spec().outputs, name);
  if (!index) {
    return Error(StatusCode::kInvalidArgument, "output '{}' is not one of model '{}': expected {}",
                 name, spec().name, NamesOf(spec().outputs));
  }
  const auto place = static_cast<std::uint32_t>(*index);
  if (std::ranges::find(request_.wanted_outputs, place) != request_.wanted_outputs.end()) {
    return Error(StatusCode::kInvalidArgument, "output '{}' is asked for twice", name);
  }
  request_.wanted_outputs.push_back(place);
  return place;
}

Status InferRequestBuilder::PlaceOutput(const SharedMemoryParameters& place) {
  Result<SharedMemoryPlace> found = Locate(place);
  if (!found) {
    const TensorSpec& output = spec().outputs[request_.wanted_outputs.back()];
    return found.error().WithContext(fmt::format("output '{}'", output.name));
  }
  places_.resize(request_.wanted_outputs.size());
  places_.back() = std::move(*found);
  return Status();
}

Result<std::uint32_t> InferRequestBuilder::ClassCount(std::uint32_t output,
                                                      const ParameterValue& value) const {
  const TensorSpec& tensor = spec().outputs[output];
  const std::optional<std::uint64_t> count = AsUnsigned(value);
  if (!count || *count == 0) {
    return Error(StatusCode::kInvalidArgument,
                 "output '{}': parameter 'classification': expected a whole number, 1 or more",
                 tensor.name);
  }
  if (!IsClassifiable(tensor.type)) {
    return Error(StatusCode::kInvalidArgument,
                 "output '{}': parameter 'classification': {} has no largest values: expected an "
                 "output of numbers",
                 tensor.name, ToString(tensor.type));
  }
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(*count, std::numeric_limits<std::uint32_t>::max()));
}

Status InferRequestBuilder::SetParameter(std::string_view name, const ParameterValue& value) {
  const auto invalid = [&](std::string_view expected) {
    return BadRequest(fmt::format("parameter '{}': expected {}", name, expected));
  };
  if (name == "timeout" || name == "slo_us") {
    const std::optional<std::uint64_t> us = AsUnsigned(value);
    if (name == "slo_us") {
      if (!us || *us == 0) return invalid("a positive whole number of microseconds");
      request_.slo = FromMicros(*us);
      return Status();
    }
    if (!us) return invalid("a whole number of microseconds, 0 for none");
    // Whether the model lets a request say so, the engine judges.
    if (*us > 0) request_.timeout = FromMicros(*us);
    return Status();
  }
  if (name == "priority") {
    const std::optional<std::uint64_t> level = AsUnsigned(value);
    if (!level) return invalid("a whole number, 0 or more");
    request_.priority = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(*level, std::numeric_limits<std::uint32_t>::max()));
    return Status();
  }
  if (name == "duly_report") {
    const auto* flag = std::get_if<bool>(&value);
    if (flag == nullptr) return invalid("true or false");
    report_ = *flag;
    return Status();
  }
  if (name == "application") {
    const auto* text = std::get_if<std::string_view>(&value);
    if (text == nullptr) return invalid("a name");
    request_.application = request_.model->FindApplication(*text);
    if (request_.application != kNoIndex) return Status();
    return BadRequest(
        fmt::format("parameter 'application': no application '{}' is declared for model '{}'",
                    *text, spec().name));
  }
  if (name == "variant") {
    const auto* text = std::get_if<std::string_view>(&value);
    if (text == nullptr) return invalid("a name");
    std::string known;
    for (std::size_t i = 0; i < spec().variants.size(); ++i) {
      if (spec().variants[i].name == *text) {
        request_.variants = VariantMask{1} << i;
        return Status();
      }
      known += (i == 0 ? "" : ", ") + spec().variants[i].name;
    }
    return invalid(fmt::format("one of {}, not '{}'", known, *text));
  }
  if (name == "min_accuracy") {
    double percent = -1;
    if (const auto* number = std::get_if<double>(&value)) {
      percent = *number;
    } else if (const std::optional<std::uint64_t> whole = AsUnsigned(value)) {
      percent = static_cast<double>(*whole);
    }
    if (!(percent >= 0 && percent <= 100)) return invalid("percentage points, 0 to 100");
    request_.min_accuracy_pct = percent;
    return Status();
  }
  if (name == "sequence_id" || name == "sequence_start" || name == "sequence_end") {
    if (IsUnsetSequence(value)) return Status();
    return Status(StatusCode::kUnimplemented,
                  fmt::format("parameter '{}': sequences are not supported; a stateful model "
                              "carries its state in its tensors",
                              name));
  }
  return Status();
}

Result<InferRequest> InferRequestBuilder::Finish() {
  const ModelSpec& model = spec();
  for (std::size_t i = 0; i < model.inputs.size(); ++i) {
    if (has_data_[i]) continue;
    if (model.inputs[i].optional && request_.inputs[i].name.empty()) continue;
    return Error(StatusCode::kInvalidArgument, "input '{}' of model '{}' {}", model.inputs[i].name,
                 model.name, request_.inputs[i].name.empty() ? "is missing" : "has no data");
  }
  std::erase_if(request_.inputs, [](const Tensor& tensor) { return tensor.name.empty(); });

  if (request_.min_accuracy_pct) {
    double best = -1;
    for (std::size_t i = 0; i < model.variants.size(); ++i) {
      const bool allowed = request_.variants == 0 || (request_.variants >> i & 1) != 0;
      if (allowed) best = std::max(best, model.variants[i].accuracy_pct.value_or(0));
    }
    if (best < *request_.min_accuracy_pct) {
      return Error(
          StatusCode::kInvalidArgument,
          "parameter 'min_accuracy': {}: expected at most {}, the best that model '{}' has",
          *request_.min_accuracy_pct, best, model.name);
    }
  }
  return std::move(request_);
}

}  // namespace duly
