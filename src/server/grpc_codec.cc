// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_codec.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "server/grpc_message.h"

namespace duly {
namespace {

using google::protobuf::io::CodedOutputStream;
using inference::InferParameter;
using inference::ModelInferRequest;

// Of the limit for the message, for each of its raw contents: ParseMessage counts texts likewise.
constexpr std::size_t kRawCost = 12;
// Smaller tensors are copied: a slice of its own costs more.
constexpr std::size_t kSharedBytes = 8192;
// Wire keys of length-delimited fields: number * 8 + 2.
constexpr std::uint32_t kRawInputContents = (7 << 3) | 2;
constexpr std::uint8_t kRawOutputContents = (6 << 3) | 2;
constexpr std::uint8_t kStreamInferResponse = (2 << 3) | 2;

ParameterValue ValueOf(const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kBoolParam:
      return parameter.bool_param();
    case InferParameter::kInt64Param:
      return parameter.int64_param();
    case InferParameter::kStringParam:
      return std::string_view(parameter.string_param());
    case InferParameter::kDoubleParam:
      return parameter.double_param();
    case InferParameter::kUint64Param:
      return parameter.uint64_param();
    case InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return std::monostate();
}

// Of an input or output.
template <typename Tensor>
bool IsInSharedMemory(const Tensor& tensor) {
  return std::ranges::any_of(tensor.parameters(), [](const auto& parameter) {
    return parameter.first.starts_with("shared_memory_");
  });
}
template <typename Tensor>
Result<SharedMemoryParameters> SharedMemoryOf(std::string_view kind, const Tensor& tensor) {
  SharedMemoryParameters place;
  for (const auto& [name, value] : tensor.parameters()) {
    if (const Status set = place.Set(name, ValueOf(value)); !set.ok()) {
      return Error(set.WithContext(fmt::format("{} '{}'", kind, tensor.name())));
    }
  }
  return place;
}

// Elements of a wider wire type as their own type; a value outside of it is refused.
template <typename Element, typename Wire>
Result<Buffer> Narrow(const TensorSpec& spec, const Wire& contents) {
  auto [buffer, bytes] =
      Buffer::Allocate(static_cast<std::size_t>(contents.size()) * sizeof(Element));
  std::byte* out = bytes.data();
  for (const auto value : contents) {
    if constexpr (std::is_integral_v<Element> && !std::is_same_v<Element, bool>) {
      if (!std::in_range<Element>(value)) {
        return Error(StatusCode::kInvalidArgument, "input '{}': {} is no {}", spec.name, value,
                     ToString(spec.type));
      }
    }
    const auto element = static_cast<Element>(value);
    std::memcpy(out, &element, sizeof(element));
    out += sizeof(element);
  }
  return std::move(buffer);
}

Result<Buffer> JoinBytes(const TensorSpec& spec,
                         const google::protobuf::RepeatedPtrField<std::string>& elements) {
  std::size_t size = 0;
  for (const std::string& element : elements) {
    if (element.size() > std::numeric_limits<std::uint32_t>::max()) {
      return Error(StatusCode::kInvalidArgument, "input '{}': an element of {} bytes is too long",
                   spec.name, element.size());
    }
    size += sizeof(std::uint32_t) + element.size();
  }
  auto [buffer, bytes] = Buffer::Allocate(size);
  std::byte* out = bytes.data();
  for (const std::string& element : elements) {
    const auto length = static_cast<std::uint32_t>(element.size());
    std::memcpy(out, &length, sizeof(length));
    std::memcpy(out + sizeof(length), element.data(), element.size());
    out += sizeof(length) + element.size();
  }
  return std::move(buffer);
}

// Typed contents in the binary form; the builder checks their number.
Result<Buffer> ToBuffer(const TensorSpec& spec, const inference::InferTensorContents& contents) {
  switch (spec.type) {
    case DataType::kBool:
      return Narrow<bool>(spec, contents.bool_contents());
    case DataType::kInt8:
      return Narrow<std::int8_t>(spec, contents.int_contents());
    case DataType::kInt16:
      return Narrow<std::int16_t>(spec, contents.int_contents());
    case DataType::kInt32:
      return Narrow<std::int32_t>(spec, contents.int_contents());
    case DataType::kInt64:
      return Narrow<std::int64_t>(spec, contents.int64_contents());
    case DataType::kUint8:
      return Narrow<std::uint8_t>(spec, contents.uint_contents());
    case DataType::kUint16:
      return Narrow<std::uint16_t>(spec, contents.uint_contents());
    case DataType::kUint32:
      return Narrow<std::uint32_t>(spec, contents.uint_contents());
    case DataType::kUint64:
      return Narrow<std::uint64_t>(spec, contents.uint64_contents());
    case DataType::kFp32:
      return Narrow<float>(spec, contents.fp32_contents());
    case DataType::kFp64:
      return Narrow<double>(spec, contents.fp64_contents());
    case DataType::kBytes:
      return JoinBytes(spec, contents.bytes_contents());
    case DataType::kFp16:
    case DataType::kBf16:
      break;
  }
  return Error(StatusCode::kInvalidArgument,
               "input '{}': {} has no typed contents: expected raw_input_contents", spec.name,
               ToString(spec.type));
}

void SetParameter(InferParameter& parameter, const ParameterValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) parameter.set_bool_param(*flag);
  if (const auto* whole = std::get_if<std::int64_t>(&value)) parameter.set_int64_param(*whole);
  if (const auto* number = std::get_if<double>(&value)) parameter.set_double_param(*number);
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    parameter.set_string_param(std::string(*text));
  }
}

// A message in the making: text, and tensors that stay where they are.
class Pieces {
 public:
  void Append(std::string_view bytes) { text_ += bytes; }
  void Append(std::uint8_t key, std::size_t length) {
    std::uint8_t bytes[11];
    bytes[0] = key;
    std::uint8_t* const end =
        CodedOutputStream::WriteVarint64ToArray(std::uint64_t{length}, bytes + 1);
    text_.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(end - bytes));
  }
  void Append(const Buffer& tensor) {
    if (tensor.size() < kSharedBytes) {
      text_.append(reinterpret_cast<const char*>(tensor.data().data()), tensor.size());
      return;
    }
    Flush();
    pieces_.push_back(tensor);
  }
  GrpcOutput Finish() {
    Flush();
    return std::move(pieces_);
  }

 private:
  void Flush() {
    if (text_.empty()) return;
    auto owner = std::make_shared<const std::string>(std::exchange(text_, std::string()));
    const auto bytes = std::as_bytes(std::span<const char>(*owner));
    pieces_.emplace_back(std::move(owner), bytes);
  }

  std::string text_;
  GrpcOutput pieces_;
};

std::size_t VarintSize(std::size_t value) {
  return CodedOutputStream::VarintSize64(std::uint64_t{value});
}

Status NoMessage() {
  return Status(StatusCode::kInvalidArgument, "the message is no ModelInferRequest");
}

// Splits a message into its raw contents and the rest, which is copied only where raw contents lie
// between its parts.
Status Split(std::string_view bytes, std::size_t limit, std::vector<std::string_view>& raw,
             std::string& joined, std::string_view& rest) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                            static_cast<int>(bytes.size()));
  const auto position = [&in] { return static_cast<std::size_t>(in.CurrentPosition()); };
  std::size_t begin = 0;  // of the part of the rest that is being read
  const auto keep_until = [&](std::size_t end) {
    const std::string_view part = bytes.substr(begin, end - begin);
    if (part.empty()) return;
    if (rest.empty()) {
      rest = part;
      return;
    }
    if (joined.empty()) joined = rest;
    joined += part;
    rest = joined;
  };
  while (true) {
    const std::size_t start = position();
    const std::uint32_t tag = in.ReadTag();
    if (tag == 0) {
      keep_until(bytes.size());
      return start == bytes.size() ? Status() : NoMessage();
    }
    if (tag != kRawInputContents) {
      if (!WireFormatLite::SkipField(&in, tag)) return NoMessage();
      continue;
    }
    keep_until(start);
    std::uint32_t size = 0;
    if (!in.ReadVarint32(&size) || size > bytes.size() - position()) return NoMessage();
    if (raw.size() >= limit / kRawCost) return MessageTooLarge(limit);
    raw.push_back(bytes.substr(position(), size));
    in.Skip(static_cast<int>(size));
    begin = position();
  }
}

}  // namespace

Result<std::shared_ptr<const GrpcInferMessage>> GrpcInferMessage::Parse(GrpcInput& input,
                                                                        std::size_t limit) {
  auto parsed = std::make_shared<GrpcInferMessage>();
  GrpcInput taken = std::exchange(input, GrpcInput());
  DULY_RETURN_IF_ERROR(Decompress(taken, limit));
  parsed->bytes_ = std::move(taken.bytes);
  const std::span<const std::byte> data = parsed->bytes_.data();
  const std::string_view bytes(reinterpret_cast<const char*>(data.data()), data.size());
  std::string joined;
  std::string_view rest;
  if (bytes.size() > std::numeric_limits<int>::max()) return Error(MessageTooLarge(limit));
  DULY_RETURN_IF_ERROR(Split(bytes, limit, parsed->raw_, joined, rest));
  DULY_RETURN_IF_ERROR(ParseMessage(rest, limit, *parsed->message_));
  return parsed;
}

Result<InferCall> DecodeGrpcInfer(const std::shared_ptr<const GrpcInferMessage>& message,
                                  const ModelService& service) {
  const ModelInferRequest& said = **message;
  DULY_ASSIGN_OR_RETURN(std::shared_ptr<const ServedModel> model,
                        service.FindModel(said.model_name(), said.model_version()));
  InferRequestBuilder builder(std::move(model), service.shared_memory().registry());
  for (const auto& [name, value] : said.parameters()) {
    DULY_RETURN_IF_ERROR(builder.SetParameter(name, ValueOf(value)));
  }
  const auto in_message = static_cast<std::size_t>(std::ranges::count_if(
      said.inputs(), [](const auto& input) { return !IsInSharedMemory(input); }));
  const std::span<const std::string_view> contents = message->raw_contents();
  const bool raw = !contents.empty();
  if (raw && contents.size() != in_message) {
    return Error(StatusCode::kInvalidArgument,
                 "{} raw_input_contents: expected one for each of the {} inputs{}", contents.size(),
                 in_message,
                 in_message < static_cast<std::size_t>(said.inputs_size())
                     ? " that are not in shared memory"
                     : "");
  }
  std::size_t next_raw = 0;
  for (const ModelInferRequest::InferInputTensor& input : said.inputs()) {
    DULY_ASSIGN_OR_RETURN(const InferRequestBuilder::Input slot,
                          builder.AddInput(input.name(), input.datatype(),
                                           Shape(input.shape().begin(), input.shape().end())));
    if (IsInSharedMemory(input)) {
      DULY_ASSIGN_OR_RETURN(const SharedMemoryParameters place, SharedMemoryOf("input", input));
      if (input.has_contents()) {
        return Error(StatusCode::kInvalidArgument,
                     "input '{}' has both contents and shared memory region '{}'", input.name(),
                     place.region.value_or(""));
      }
      DULY_RETURN_IF_ERROR(builder.SetData(slot, place));
    } else if (raw) {
      if (input.has_contents()) {
        return Error(StatusCode::kInvalidArgument,
                     "input '{}' has contents beside raw_input_contents: expected one of them",
                     input.name());
      }
      const std::string_view data = contents[next_raw++];
      DULY_RETURN_IF_ERROR(builder.SetData(slot, message->Own(data)));
    } else {
      DULY_ASSIGN_OR_RETURN(Buffer data, ToBuffer(*slot.spec, input.contents()));
      DULY_RETURN_IF_ERROR(builder.SetData(slot, std::move(data)));
    }
  }
  InferCall call;
  for (const auto& output : said.outputs()) {
    DULY_ASSIGN_OR_RETURN(const std::uint32_t place, builder.AddOutput(output.name()));
    if (IsInSharedMemory(output)) {
      DULY_ASSIGN_OR_RETURN(const SharedMemoryParameters shared, SharedMemoryOf("output", output));
      DULY_RETURN_IF_ERROR(builder.PlaceOutput(shared));
    }
    std::uint32_t& classes = call.format.classes.emplace_back(0);
    if (const auto wanted = output.parameters().find("classification");
        wanted != output.parameters().end()) {
      DULY_ASSIGN_OR_RETURN(classes, builder.ClassCount(place, ValueOf(wanted->second)));
    }
  }
  call.format.id = said.id();
  call.format.report = builder.report();
  call.format.places = builder.TakePlaces();
  DULY_ASSIGN_OR_RETURN(call.request, builder.Finish());
  call.format.model = call.request.model;
  return call;
}

GrpcOutput EncodeGrpcReply(GrpcReply kind, const InferReplyFormat& format,
                           const InferResponse& response) {
  google::protobuf::Arena arena;
  auto& head = *google::protobuf::Arena::CreateMessage<inference::ModelInferResponse>(&arena);
  const ModelSpec& spec = format.model->spec;
  head.set_model_name(spec.name);
  head.set_model_version(std::to_string(spec.version));
  head.set_id(format.id);
  if (kind == GrpcReply::kFinal) {
    (*head.mutable_parameters())["triton_final_response"].set_bool_param(true);
  }
  if (format.report) {
    for (const auto& [name, value] : ReportOf(response)) {
      SetParameter((*head.mutable_parameters())[std::string(name)], value);
    }
  }
  std::size_t size = 0;
  for (std::size_t i = 0; i < response.outputs.size(); ++i) {
    const Tensor& tensor = response.outputs[i];
    auto& output = *head.add_outputs();
    if (format.InSharedMemory(i)) {
      const SharedMemoryPlace& place = format.places[i];
      auto& parameters = *output.mutable_parameters();
      parameters["shared_memory_region"].set_string_param(place.region->name());
      parameters["shared_memory_byte_size"].set_int64_param(static_cast<std::int64_t>(place.bytes));
      parameters["shared_memory_offset"].set_int64_param(static_cast<std::int64_t>(place.offset));
    }
    output.set_name(tensor.name);
    output.set_datatype(std::string(ToString(tensor.type)));
    output.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
    size += 1 + VarintSize(tensor.data.size()) + tensor.data.size();
  }
  const std::string text = head.SerializeAsString();
  Pieces pieces;
  if (kind != GrpcReply::kUnary) pieces.Append(kStreamInferResponse, text.size() + size);
  pieces.Append(text);
  for (const Tensor& tensor : response.outputs) {
    pieces.Append(kRawOutputContents, tensor.data.size());
    pieces.Append(tensor.data);
  }
  return pieces.Finish();
}

GrpcOutput EncodeGrpcStreamError(const std::string& id, const Status& status) {
  inference::ModelStreamInferResponse message;
  message.set_error_message(status.message());
  message.mutable_infer_response()->set_id(id);
  Pieces pieces;
  pieces.Append(message.SerializeAsString());
  return pieces.Finish();
}

}  // namespace duly
