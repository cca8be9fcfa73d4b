// SPDX-License-Identifier: Apache-2.0
#include "server/infer_json.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "server/infer_builder.h"
#include "server/json_number.h"
#include "server/json_text.h"

namespace duly {
namespace {

namespace ondemand = simdjson::ondemand;

static_assert(InferDecoder::kPadding >= simdjson::SIMDJSON_PADDING);

// No input of a real model has more dimensions; a bound keeps messages short.
constexpr std::size_t kMaxDimensions = 64;
// A parser that read a larger document gives its memory back.
constexpr std::size_t kKeptCapacity = std::size_t{4} << 20;

template <typename... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Status(StatusCode::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...));
}

Status BadJson(simdjson::error_code error) {
  return Invalid("the request is not valid JSON: {}", simdjson::error_message(error));
}

Status TooDeep() {
  return Invalid("the request's JSON is nested more than {} deep", InferDecoder::kMaxDepth);
}

// Leaves the function with a Status when a simdjson call fails.
#define DULY_RETURN_IF_BAD_JSON(expression)                                              \
  do {                                                                                   \
    if (const simdjson::error_code duly_error = (expression); duly_error) [[unlikely]] { \
      return BadJson(duly_error);                                                        \
    }                                                                                    \
  } while (false)

#define DULY_RETURN_IF_FAILED(expression)                       \
  do {                                                          \
    if (Status duly_status = (expression); !duly_status.ok()) { \
      return duly_status;                                       \
    }                                                           \
  } while (false)

// Calls visit(key, value) -> Status for each member.
template <typename Visit>
Status ForEachField(ondemand::object object, Visit visit) {
  for (auto item : object) {
    ondemand::field field;
    DULY_RETURN_IF_BAD_JSON(std::move(item).get(field));
    std::string_view key;
    DULY_RETURN_IF_BAD_JSON(field.unescaped_key().get(key));
    DULY_RETURN_IF_FAILED(visit(key, field.value()));
  }
  return Status();
}

// Reads what nobody needs: the parser checks only what is read.
Status Walk(ondemand::value value, int depth) {
  ondemand::json_type type{};
  DULY_RETURN_IF_BAD_JSON(value.type().get(type));
  const bool nests = type == ondemand::json_type::object || type == ondemand::json_type::array;
  if (nests && depth > InferDecoder::kMaxDepth) return TooDeep();
  switch (type) {
    case ondemand::json_type::object: {
      ondemand::object object;
      DULY_RETURN_IF_BAD_JSON(value.get_object().get(object));
      return ForEachField(object, [&](std::string_view, ondemand::value member) {
        return Walk(member, depth + 1);
      });
    }
    case ondemand::json_type::array: {
      ondemand::array array;
      DULY_RETURN_IF_BAD_JSON(value.get_array().get(array));
      for (auto item : array) {
        ondemand::value element;
        DULY_RETURN_IF_BAD_JSON(std::move(item).get(element));
        DULY_RETURN_IF_FAILED(Walk(element, depth + 1));
      }
      return Status();
    }
    case ondemand::json_type::number: {
      double number = 0;
      DULY_RETURN_IF_BAD_JSON(value.get_double().get(number));
      return Status();
    }
    case ondemand::json_type::string: {
      std::string_view text;
      DULY_RETURN_IF_BAD_JSON(value.get_string().get(text));
      return Status();
    }
    case ondemand::json_type::boolean: {
      bool flag = false;
      DULY_RETURN_IF_BAD_JSON(value.get_bool().get(flag));
      return Status();
    }
    case ondemand::json_type::null: {
      bool null = false;
      DULY_RETURN_IF_BAD_JSON(value.is_null().get(null));
      return null ? Status() : BadJson(simdjson::N_ATOM_ERROR);
    }
  }
  return BadJson(simdjson::TAPE_ERROR);
}

// The text lives until the next document.
Status ReadParameter(ondemand::value value, int depth, ParameterValue& out) {
  ondemand::json_type type{};
  DULY_RETURN_IF_BAD_JSON(value.type().get(type));
  if (type == ondemand::json_type::boolean) {
    bool flag = false;
    DULY_RETURN_IF_BAD_JSON(value.get_bool().get(flag));
    out = flag;
    return Status();
  }
  if (type == ondemand::json_type::string) {
    std::string_view text;
    DULY_RETURN_IF_BAD_JSON(value.get_string().get(text));
    out = text;
    return Status();
  }
  if (type == ondemand::json_type::number) {
    ondemand::number number;
    if (!value.get_number().get(number)) {
      if (number.is_int64()) {
        out = number.get_int64();
      } else if (number.is_uint64()) {
        out = number.get_uint64();
      } else {
        out = number.get_double();
      }
      return Status();
    }
    double large = 0;  // an integer beyond 64 bits
    DULY_RETURN_IF_BAD_JSON(value.get_double().get(large));
    out = large;
    return Status();
  }
  out = std::monostate{};
  return Walk(value, depth);
}

// Fills a tensor from JSON, flat or nested.
template <typename T>
class ElementReader {
 public:
  ElementReader(const TensorSpec& spec, std::span<T> out) : spec_(spec), out_(out) {}

  Status Read(ondemand::array array, int depth) {
    if (depth > InferDecoder::kMaxDepth) return TooDeep();
    for (auto item : array) {
      ondemand::value value;
      DULY_RETURN_IF_BAD_JSON(std::move(item).get(value));
      T element{};
      if (ReadElement(value, element)) [[likely]] {
        if (filled_ == out_.size()) return Miscounted("more");
        out_[filled_++] = element;
        continue;
      }
      ondemand::json_type type{};
      DULY_RETURN_IF_BAD_JSON(value.type().get(type));
      if (type != ondemand::json_type::array) {
        return Invalid("input '{}': element {} of the data: expected {}", spec_.name, filled_,
                       Expected());
      }
      ondemand::array inner;
      DULY_RETURN_IF_BAD_JSON(value.get_array().get(inner));
      DULY_RETURN_IF_FAILED(Read(inner, depth + 1));
    }
    return Status();
  }

  Status Finish() const { return filled_ == out_.size() ? Status() : Miscounted("fewer"); }

 private:
  Status Miscounted(std::string_view word) const {
    return Invalid("input '{}': the data has {} elements than the {} of its shape", spec_.name,
                   word, out_.size());
  }

  static bool ReadElement(ondemand::value& value, T& element) {
    if constexpr (std::is_same_v<T, bool>) {
      return !value.get_bool().get(element);
    } else if constexpr (std::is_floating_point_v<T>) {
      double number = 0;
      if (value.get_double().get(number)) return false;
      element = static_cast<T>(number);
      return std::isfinite(element);
    } else {
      std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t> number = 0;
      if (value.get(number)) return false;
      element = static_cast<T>(number);
      return std::in_range<T>(number);
    }
  }

  std::string Expected() const {
    if constexpr (std::is_same_v<T, bool>) {
      return "true or false";
    } else if constexpr (std::is_floating_point_v<T>) {
      return fmt::format("a number within {}", ToString(spec_.type));
    } else {
      return fmt::format("a whole number from {} to {}", std::numeric_limits<T>::min(),
                         std::numeric_limits<T>::max());
    }
  }

  const TensorSpec& spec_;
  std::span<T> out_;
  std::size_t filled_ = 0;
};

Status ReadStrings(const TensorSpec& spec, ondemand::array array, int depth,
                   std::vector<std::byte>& out) {
  if (depth > InferDecoder::kMaxDepth) return TooDeep();
  for (auto item : array) {
    ondemand::value value;
    DULY_RETURN_IF_BAD_JSON(std::move(item).get(value));
    ondemand::json_type type{};
    DULY_RETURN_IF_BAD_JSON(value.type().get(type));
    if (type == ondemand::json_type::array) {
      ondemand::array inner;
      DULY_RETURN_IF_BAD_JSON(value.get_array().get(inner));
      DULY_RETURN_IF_FAILED(ReadStrings(spec, inner, depth + 1, out));
      continue;
    }
    if (type != ondemand::json_type::string) {
      return Invalid("input '{}': the data: expected strings", spec.name);
    }
    std::string_view text;
    DULY_RETURN_IF_BAD_JSON(value.get_string().get(text));
    AppendBytesElement(text, out);  // bodies are far below 4 GiB
  }
  return Status();
}

template <typename T>
Status ReadElements(const InferRequestBuilder::Input& input, ondemand::array array, int depth,
                    Buffer& out) {
  auto [buffer, bytes] = Buffer::Allocate(input.bytes);
  ElementReader<T> reader(*input.spec,
                          std::span(reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)));
  DULY_RETURN_IF_FAILED(reader.Read(array, depth));
  DULY_RETURN_IF_FAILED(reader.Finish());
  out = std::move(buffer);
  return Status();
}

Status ReadData(const InferRequestBuilder::Input& input, ondemand::array array, int depth,
                Buffer& out) {
  switch (input.spec->type) {
    case DataType::kBool:
      static_assert(sizeof(bool) == 1);
      return ReadElements<bool>(input, array, depth, out);
    case DataType::kUint8:
      return ReadElements<std::uint8_t>(input, array, depth, out);
    case DataType::kUint16:
      return ReadElements<std::uint16_t>(input, array, depth, out);
    case DataType::kUint32:
      return ReadElements<std::uint32_t>(input, array, depth, out);
    case DataType::kUint64:
      return ReadElements<std::uint64_t>(input, array, depth, out);
    case DataType::kInt8:
      return ReadElements<std::int8_t>(input, array, depth, out);
    case DataType::kInt16:
      return ReadElements<std::int16_t>(input, array, depth, out);
    case DataType::kInt32:
      return ReadElements<std::int32_t>(input, array, depth, out);
    case DataType::kInt64:
      return ReadElements<std::int64_t>(input, array, depth, out);
    case DataType::kFp32:
      return ReadElements<float>(input, array, depth, out);
    case DataType::kFp64:
      return ReadElements<double>(input, array, depth, out);
    case DataType::kFp16:
    case DataType::kBf16:
      return Invalid("input '{}': {} has no JSON form: send it as binary data", input.spec->name,
                     ToString(input.spec->type));
    case DataType::kBytes: {
      auto bytes = std::make_shared<std::vector<std::byte>>();
      DULY_RETURN_IF_FAILED(ReadStrings(*input.spec, array, depth, *bytes));
      const std::span<const std::byte> view(*bytes);
      out = Buffer(std::move(bytes), view);
      return Status();
    }
  }
  return Invalid("input '{}': unknown type", input.spec->name);
}

// The place of a member in its object, so that it can be found again after the others were read.
constexpr std::size_t kAbsent = std::numeric_limits<std::size_t>::max();

// One element of "inputs" or "outputs" while it is read.
struct TensorFields {
  std::string_view name;
  std::string_view datatype;
  Shape shape;
  bool has_name = false;
  bool has_datatype = false;
  bool has_shape = false;
  bool has_parameters = false;
  std::optional<std::uint64_t> binary_size;
  std::optional<bool> binary;
  SharedMemoryParameters shared_memory;
  std::optional<ParameterValue> classification;
  std::size_t data_at = kAbsent;
};

class RequestReader {
 public:
  RequestReader(std::shared_ptr<const ServedModel> model, const Buffer& body, std::size_t json_size,
                const SharedMemoryRegistry* shared_memory)
      : builder_(std::move(model), shared_memory), body_(body), binary_at_(json_size) {}

  Status Read(ondemand::document& document) {
    ondemand::object object;
    if (const simdjson::error_code error = document.get_object().get(object); error) {
      if (error == simdjson::INCORRECT_TYPE) {
        return Invalid("the request is not a JSON object");
      }
      return BadJson(error);
    }
    bool has_inputs = false;
    bool has_outputs = false;
    bool has_parameters = false;
    const auto once = [](bool& seen, std::string_view key) {
      return std::exchange(seen, true) ? Invalid("'{}' is given twice", key) : Status();
    };
    Status members =
        ForEachField(object, [&](std::string_view key, ondemand::value value) -> Status {
          if (key == "inputs") {
            DULY_RETURN_IF_FAILED(once(has_inputs, key));
            return ReadTensors(key, value, &RequestReader::ReadInput);
          }
          if (key == "outputs") {
            DULY_RETURN_IF_FAILED(once(has_outputs, key));
            return ReadTensors(key, value, &RequestReader::ReadOutput);
          }
          if (key == "parameters") {
            DULY_RETURN_IF_FAILED(once(has_parameters, key));
            return ReadParameters(value);
          }
          if (key == "id") {
            std::string_view id;
            if (value.get_string().get(id)) return Invalid("'id': expected a string");
            id_ = id;
            return Status();
          }
          return Walk(value, 2);
        });
    if (!members.ok()) return members;
    if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) {
      return Invalid("the request's JSON is followed by something else");
    }
    if (!has_inputs) return Invalid("'inputs' is missing");
    if (binary_at_ != body_.size()) {
      return Invalid("{} bytes of binary data are left over: the inputs' binary_data_size say less",
                     body_.size() - binary_at_);
    }
    return Status();
  }

  // The whole body is the data of the only input.
  Status ReadRaw() {
    const ModelSpec& spec = builder_.spec();
    if (spec.inputs.size() != 1) {
      return Invalid("a raw binary request needs a model with one input, '{}' has {}", spec.name,
                     spec.inputs.size());
    }
    const TensorSpec& input = spec.inputs[0];
    Buffer data = body_;
    Shape shape = input.shape;
    if (spec.max_rows > 0) shape[0] = 1;
    if (input.type == DataType::kBytes) {
      // The body is the one element, its length goes before it.
      for (std::int64_t& dimension : shape) dimension = dimension < 0 ? 1 : dimension;
      if (body_.size() > std::numeric_limits<std::uint32_t>::max()) {
        return Invalid("the body is too large for one BYTES element");
      }
      const auto length = static_cast<std::uint32_t>(body_.size());
      auto [buffer, bytes] = Buffer::Allocate(sizeof(length) + body_.size());
      std::memcpy(bytes.data(), &length, sizeof(length));
      std::ranges::copy(body_.data(), bytes.begin() + sizeof(length));
      data = std::move(buffer);
    } else {
      DULY_RETURN_IF_FAILED(FillDynamicDimension(input, shape));
    }
    auto slot = builder_.AddInput(input.name, ToString(input.type), std::move(shape));
    if (!slot) return std::move(slot).error();
    binary_output_ = true;
    return builder_.SetData(*slot, std::move(data));
  }

  Result<InferCall> Finish() {
    InferCall call;
    DULY_ASSIGN_OR_RETURN(call.request, builder_.Finish());
    call.format.model = call.request.model;
    call.format.id = std::move(id_);
    call.format.report = builder_.report();
    call.format.places = builder_.TakePlaces();
    const std::vector<TensorSpec>& specs = call.request.model->spec.outputs;
    const bool all = call.request.wanted_outputs.empty();
    const std::size_t count = all ? specs.size() : call.request.wanted_outputs.size();
    call.format.binary.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      const TensorSpec& spec = specs[all ? i : call.request.wanted_outputs[i]];
      const bool binary = all ? binary_output_ : output_binary_[i].value_or(binary_output_);
      const bool classified = !all && output_classes_[i] > 0;
      if (!binary && !classified && !call.format.InSharedMemory(i) &&
          (spec.type == DataType::kFp16 || spec.type == DataType::kBf16)) {
        return Error(StatusCode::kInvalidArgument,
                     "output '{}': {} has no JSON form: ask for binary_data", spec.name,
                     ToString(spec.type));
      }
      call.format.binary[i] = binary;
    }
    call.format.classes = std::move(output_classes_);
    return call;
  }

 private:
  // Depths: request 1, "inputs" 2, an input 3, its members 4.
  static constexpr int kMemberDepth = 4;

  Status ReadTensors(std::string_view key, ondemand::value value,
                     Status (RequestReader::*read)(ondemand::object, std::size_t)) {
    ondemand::array array;
    if (value.get_array().get(array)) return Invalid("'{}': expected an array", key);
    std::size_t index = 0;
    for (auto item : array) {
      ondemand::value element;
      DULY_RETURN_IF_BAD_JSON(std::move(item).get(element));
      ondemand::object object;
      if (const simdjson::error_code error = element.get_object().get(object); error) {
        if (error != simdjson::INCORRECT_TYPE) return BadJson(error);
        return Invalid("'{}[{}]': expected an object", key, index);
      }
      DULY_RETURN_IF_FAILED((this->*read)(object, index++));
    }
    return Status();
  }

  Status ReadInput(ondemand::object object, std::size_t index) {
    TensorFields fields;
    std::optional<InferRequestBuilder::Input> input;
    const std::string where = fmt::format("inputs[{}]", index);
    std::size_t member = 0;
    bool done = false;
    Status members =
        ForEachField(object, [&](std::string_view key, ondemand::value value) -> Status {
          const std::size_t at = member++;
          if (key != "data") return ReadField(where, key, value, fields);
          if (fields.data_at != kAbsent) return Invalid("'{}': 'data' is given twice", where);
          fields.data_at = at;
          if (!fields.has_name || !fields.has_datatype || !fields.has_shape) return Status();
          DULY_RETURN_IF_FAILED(AddInput(fields, input));
          done = true;
          return ReadJsonData(*input, value);
        });
    if (!members.ok()) return members;
    for (const auto& [seen, key] : {std::pair{fields.has_name, "name"},
                                    {fields.has_datatype, "datatype"},
                                    {fields.has_shape, "shape"}}) {
      if (!seen) return Invalid("'{}': '{}' is missing", where, key);
    }
    if (!input) DULY_RETURN_IF_FAILED(AddInput(fields, input));
    if (fields.shared_memory.given()) {
      if (fields.data_at != kAbsent || fields.binary_size) {
        return Invalid("input '{}' has both '{}' and shared memory region '{}'", fields.name,
                       fields.binary_size ? "binary_data_size" : "data",
                       fields.shared_memory.region.value_or(""));
      }
      return builder_.SetData(*input, fields.shared_memory);
    }
    if (fields.binary_size) {
      if (fields.data_at != kAbsent) {
        return Invalid("input '{}' has both 'data' and 'binary_data_size'", fields.name);
      }
      return TakeBinaryData(*input, *fields.binary_size);
    }
    if (done || fields.data_at == kAbsent) return Status();

    // "data" stood before what is needed to read it. Names are not unescaped a second time: the
    // parser's memory for texts is meant for one time each.
    bool rewound = false;
    DULY_RETURN_IF_BAD_JSON(object.reset().get(rewound));
    member = 0;
    for (auto item : object) {
      ondemand::field field;
      DULY_RETURN_IF_BAD_JSON(std::move(item).get(field));
      if (member++ == fields.data_at) DULY_RETURN_IF_FAILED(ReadJsonData(*input, field.value()));
    }
    return Status();
  }

  Status AddInput(TensorFields& fields, std::optional<InferRequestBuilder::Input>& input) {
    auto added = builder_.AddInput(fields.name, fields.datatype, std::move(fields.shape));
    if (!added) return std::move(added).error();
    input = *added;
    return Status();
  }

  Status ReadOutput(ondemand::object object, std::size_t index) {
    TensorFields fields;
    const std::string where = fmt::format("outputs[{}]", index);
    Status members =
        ForEachField(object, [&](std::string_view key, ondemand::value value) -> Status {
          if (key == "name" || key == "parameters") return ReadField(where, key, value, fields);
          return Walk(value, kMemberDepth);
        });
    if (!members.ok()) return members;
    if (!fields.has_name) return Invalid("'{}': 'name' is missing", where);
    auto output = builder_.AddOutput(fields.name);
    if (!output) return std::move(output).error();
    output_binary_.push_back(fields.binary);
    std::uint32_t& classes = output_classes_.emplace_back(0);
    if (fields.classification) {
      auto count = builder_.ClassCount(*output, *fields.classification);
      if (!count) return std::move(count).error();
      classes = *count;
    }
    return fields.shared_memory.given() ? builder_.PlaceOutput(fields.shared_memory) : Status();
  }

  static Status ReadField(const std::string& where, std::string_view key, ondemand::value value,
                          TensorFields& fields) {
    const auto once = [&](bool& seen) {
      return std::exchange(seen, true) ? Invalid("'{}': '{}' is given twice", where, key)
                                       : Status();
    };
    if (key == "name" || key == "datatype") {
      DULY_RETURN_IF_FAILED(once(key == "name" ? fields.has_name : fields.has_datatype));
      if (value.get_string().get(key == "name" ? fields.name : fields.datatype)) {
        return Invalid("'{}': '{}': expected a string", where, key);
      }
      return Status();
    }
    if (key == "shape") {
      DULY_RETURN_IF_FAILED(once(fields.has_shape));
      return ReadShape(where, value, fields.shape);
    }
    if (key == "parameters") {
      DULY_RETURN_IF_FAILED(once(fields.has_parameters));
      return ReadTensorParameters(where, value, fields);
    }
    return Walk(value, kMemberDepth);
  }

  static Status ReadShape(const std::string& where, ondemand::value value, Shape& shape) {
    ondemand::array array;
    if (value.get_array().get(array)) return Invalid("'{}': 'shape': expected an array", where);
    for (auto item : array) {
      ondemand::value element;
      DULY_RETURN_IF_BAD_JSON(std::move(item).get(element));
      std::int64_t dimension = 0;
      if (element.get_int64().get(dimension) || shape.size() == kMaxDimensions) {
        return Invalid("'{}': 'shape': expected at most {} whole numbers", where, kMaxDimensions);
      }
      shape.push_back(dimension);
    }
    return Status();
  }

  static Status ReadTensorParameters(const std::string& where, ondemand::value value,
                                     TensorFields& fields) {
    ondemand::object object;
    if (value.get_object().get(object)) {
      return Invalid("'{}': 'parameters': expected an object", where);
    }
    return ForEachField(object, [&](std::string_view key, ondemand::value member) -> Status {
      ParameterValue parameter;
      DULY_RETURN_IF_FAILED(ReadParameter(member, kMemberDepth + 1, parameter));
      if (key == "binary_data_size") {
        const auto* size = std::get_if<std::int64_t>(&parameter);
        if (size == nullptr || *size < 0) {
          return Invalid("'{}': 'binary_data_size': expected a whole number of bytes", where);
        }
        fields.binary_size = static_cast<std::uint64_t>(*size);
      } else if (key == "binary_data") {
        const auto* flag = std::get_if<bool>(&parameter);
        if (flag == nullptr) return Invalid("'{}': 'binary_data': expected true or false", where);
        fields.binary = *flag;
      } else if (key == "classification") {
        fields.classification = parameter;
      } else if (const Status set = fields.shared_memory.Set(key, parameter); !set.ok()) {
        return set.WithContext(fmt::format("'{}'", where));
      }
      return Status();
    });
  }

  Status ReadParameters(ondemand::value value) {
    ondemand::object object;
    if (value.get_object().get(object)) return Invalid("'parameters': expected an object");
    return ForEachField(object, [&](std::string_view key, ondemand::value member) -> Status {
      ParameterValue parameter;
      DULY_RETURN_IF_FAILED(ReadParameter(member, 3, parameter));
      if (key != "binary_data_output") return builder_.SetParameter(key, parameter);
      const auto* flag = std::get_if<bool>(&parameter);
      if (flag == nullptr) return Invalid("parameter 'binary_data_output': expected true or false");
      binary_output_ = *flag;
      return Status();
    });
  }

  Status ReadJsonData(const InferRequestBuilder::Input& input, ondemand::value value) {
    // Before memory is taken: the shortest element is a digit and a comma.
    if (static_cast<std::uint64_t>(input.elements) > body_.size()) {
      return Invalid("input '{}': the data has fewer elements than the {} of its shape",
                     input.spec->name, input.elements);
    }
    ondemand::array array;
    if (value.get_array().get(array)) {
      return Invalid("input '{}': 'data': expected an array", input.spec->name);
    }
    Buffer data;
    DULY_RETURN_IF_FAILED(ReadData(input, array, kMemberDepth, data));
    return builder_.SetData(input, std::move(data));
  }

  Status TakeBinaryData(const InferRequestBuilder::Input& input, std::uint64_t size) {
    const std::size_t left = body_.size() - binary_at_;
    if (size > left) {
      return Invalid("input '{}': binary_data_size {}: only {} bytes are left in the body",
                     input.spec->name, size, left);
    }
    Buffer data = body_.Slice(binary_at_, static_cast<std::size_t>(size));
    binary_at_ += static_cast<std::size_t>(size);
    return builder_.SetData(input, std::move(data));
  }

  Status FillDynamicDimension(const TensorSpec& input, Shape& shape) const {
    const auto dynamic = std::ranges::count_if(shape, [](std::int64_t d) { return d < 0; });
    if (dynamic > 1) {
      return Invalid(
          "a raw binary request needs at most one dimension without a size, input '{}' "
          "has the shape {}",
          input.name, ToString(input.shape));
    }
    if (dynamic == 0) return Status();
    const auto place = std::ranges::find_if(shape, [](std::int64_t d) { return d < 0; });
    *place = 1;
    const std::optional<std::int64_t> rest = ElementCount(shape);
    const auto row = static_cast<std::size_t>(rest.value_or(0)) * ElementSize(input.type);
    if (row == 0 || body_.size() % row != 0) {
      return Invalid("input '{}': {} bytes of data do not fill the shape {}", input.name,
                     body_.size(), ToString(input.shape));
    }
    *place = static_cast<std::int64_t>(body_.size() / row);
    return Status();
  }

  InferRequestBuilder builder_;
  const Buffer& body_;
  std::size_t binary_at_;  // where the next binary tensor starts
  std::string id_;
  bool binary_output_ = false;
  std::vector<std::optional<bool>> output_binary_;  // by wanted output
  std::vector<std::uint32_t> output_classes_;       // likewise
};

std::string_view TextOf(const Buffer& buffer, std::size_t size) {
  return {reinterpret_cast<const char*>(buffer.data().data()), size};
}

// Room for the text of an element and its comma.
template <typename T>
constexpr std::size_t kElementRoom = 24;
template <std::floating_point T>
constexpr std::size_t kElementRoom<T> = kNumberRoom<T> + 1;

// False when an element has no JSON form.
template <typename T>
bool AppendElements(std::span<const std::byte> data, std::string& out) {
  // Written where the cache has it and then appended: the string would have to be filled before it
  // can be written to.
  std::array<char, std::size_t{8} << 10> chunk;
  char* const full = chunk.data() + chunk.size() - kElementRoom<T>;
  char* at = chunk.data();
  out.reserve(out.size() + data.size() * 3);
  for (std::size_t i = 0; i < data.size(); i += sizeof(T)) {
    T element{};
    std::memcpy(&element, data.data() + i, sizeof(T));
    if (at > full) {
      out.append(chunk.data(), at);
      at = chunk.data();
    }
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(element)) return false;
      at = WriteNumber(at, element);
    } else {
      at = std::to_chars(at, at + kElementRoom<T>, element).ptr;
    }
    *at++ = ',';
  }
  if (at > chunk.data()) --at;
  out.append(chunk.data(), at);
  return true;
}

void AppendBooleans(std::span<const std::byte> data, std::string& out) {
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (i > 0) out += ',';
    out += data[i] == std::byte{0} ? "false" : "true";
  }
}

Status AppendStrings(const Tensor& tensor, std::string& out) {
  const std::optional<std::int64_t> count = ElementCount(tensor.shape);
  const auto elements = SplitBytesTensor(tensor.data.data(), count.value_or(-1));
  if (!elements) {
    return Status(StatusCode::kInternal,
                  fmt::format("output '{}' is not a well-formed BYTES tensor", tensor.name));
  }
  bool first = true;
  for (const std::string_view element : *elements) {
    if (!simdjson::validate_utf8(element)) {
      return Invalid(
          "output '{}' holds bytes that are not UTF-8 and cannot be written as JSON: "
          "ask for binary_data",
          tensor.name);
    }
    if (!std::exchange(first, false)) out += ',';
    AppendJsonString(out, element);
  }
  return Status();
}

Status AppendData(const Tensor& tensor, std::string& out) {
  const std::span<const std::byte> data = tensor.data.data();
  bool finite = true;
  switch (tensor.type) {
    case DataType::kBool:
      AppendBooleans(data, out);
      break;
    case DataType::kUint8:
      AppendElements<std::uint8_t>(data, out);
      break;
    case DataType::kUint16:
      AppendElements<std::uint16_t>(data, out);
      break;
    case DataType::kUint32:
      AppendElements<std::uint32_t>(data, out);
      break;
    case DataType::kUint64:
      AppendElements<std::uint64_t>(data, out);
      break;
    case DataType::kInt8:
      AppendElements<std::int8_t>(data, out);
      break;
    case DataType::kInt16:
      AppendElements<std::int16_t>(data, out);
      break;
    case DataType::kInt32:
      AppendElements<std::int32_t>(data, out);
      break;
    case DataType::kInt64:
      AppendElements<std::int64_t>(data, out);
      break;
    case DataType::kFp32:
      finite = AppendElements<float>(data, out);
      break;
    case DataType::kFp64:
      finite = AppendElements<double>(data, out);
      break;
    case DataType::kBytes:
      return AppendStrings(tensor, out);
    case DataType::kFp16:
    case DataType::kBf16:
      return Invalid("output '{}': {} has no JSON form: ask for binary_data", tensor.name,
                     ToString(tensor.type));
  }
  if (finite) return Status();
  return Invalid("output '{}' holds NaN or infinity, which JSON cannot say: ask for binary_data",
                 tensor.name);
}

void AppendParameter(std::string_view name, const ParameterValue& value, std::string& json) {
  AppendJsonString(json, name);
  json += ':';
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    AppendJsonString(json, *text);
  } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    AppendNumber(json, *whole);
  } else if (const auto* number = std::get_if<double>(&value)) {
    AppendNumber(json, *number);
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    json += *flag ? "true" : "false";
  }
}

// The members of a report, a comma before each.
void AppendReport(const InferResponse& response, std::string& json) {
  for (const auto& [name, value] : ReportOf(response)) {
    json += ',';
    AppendParameter(name, value, json);
  }
}

}  // namespace

class InferDecoder::Parser {
 public:
  Status Read(std::string_view text, RequestReader& reader) {
    ondemand::document document;
    DULY_RETURN_IF_BAD_JSON(
        json_
            .iterate(simdjson::padded_string_view(text.data(), text.size(), text.size() + kPadding))
            .get(document));
    return reader.Read(document);
  }
  std::size_t capacity() const { return json_.capacity(); }

 private:
  ondemand::parser json_;
};

InferDecoder::InferDecoder() : parser_(std::make_unique<Parser>()) {}
InferDecoder::~InferDecoder() = default;

Result<InferCall> InferDecoder::Decode(std::shared_ptr<const ServedModel> model, const Buffer& body,
                                       std::size_t json_size,
                                       const SharedMemoryRegistry* shared_memory) {
  if (json_size > body.size()) {
    return Error(StatusCode::kInvalidArgument,
                 "Inference-Header-Content-Length {}: the body has only {} bytes", json_size,
                 body.size());
  }
  RequestReader reader(std::move(model), body, json_size, shared_memory);
  const Status status =
      json_size == 0 ? reader.ReadRaw() : parser_->Read(TextOf(body, json_size), reader);
  if (parser_->capacity() > kKeptCapacity) parser_ = std::make_unique<Parser>();
  if (!status.ok()) return Error(status);
  return reader.Finish();
}

Status EncodeInferReply(const InferReplyFormat& format, const InferResponse& response,
                        std::string& json, std::vector<std::span<const std::byte>>& binary) {
  const ModelSpec& spec = format.model->spec;
  json += '{';
  if (!format.id.empty()) {
    json += "\"id\":";
    AppendJsonString(json, format.id);
    json += ',';
  }
  json += "\"model_name\":";
  AppendJsonString(json, spec.name);
  json += ",\"model_version\":\"";
  AppendNumber(json, spec.version);
  json += '"';
  if (format.report) {
    std::string report;
    AppendReport(response, report);
    json += ",\"parameters\":{";
    json.append(report, 1);
    json += '}';
  }
  json += ",\"outputs\":[";
  for (std::size_t i = 0; i < response.outputs.size(); ++i) {
    const Tensor& tensor = response.outputs[i];
    json += i == 0 ? "{\"name\":" : ",{\"name\":";
    AppendJsonString(json, tensor.name);
    json += ",\"datatype\":\"";
    json += ToString(tensor.type);
    json += "\",\"shape\":[";
    for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
      if (d > 0) json += ',';
      AppendNumber(json, tensor.shape[d]);
    }
    if (format.InSharedMemory(i)) {
      // Without parameters too: the C++ client takes those of an output for binary data's.
      json += "]}";
      continue;
    }
    if (i < format.binary.size() && format.binary[i]) {
      json += "],\"parameters\":{\"binary_data_size\":";
      AppendNumber(json, tensor.data.size());
      json += "}}";
      binary.push_back(tensor.data.data());
      continue;
    }
    json += "],\"data\":[";
    DULY_RETURN_IF_FAILED(AppendData(tensor, json));
    json += "]}";
  }
  json += "]}";
  return Status();
}

std::string EncodeInferError(const InferReplyFormat& format, const InferResponse& response,
                             const Status& status) {
  std::string json = ErrorJson(status.message());
  if (!format.report) return json;
  json.pop_back();
  AppendReport(response, json);
  json += '}';
  return json;
}

}  // namespace duly
