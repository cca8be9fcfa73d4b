// SPDX-License-Identifier: Apache-2.0
#include "telemetry/trace.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "telemetry/tracer.h"

namespace duly {
namespace {

constexpr std::array<std::string_view, kTracePointCount> kNames{
    "HTTP_RECV_START",      "HTTP_RECV_END",   "GRPC_WAITREAD_START", "GRPC_WAITREAD_END",
    "REQUEST_START",        "QUEUE_START",     "COMPUTE_START",       "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START", "COMPUTE_END",     "REQUEST_END",         "HTTP_SEND_START",
    "HTTP_SEND_END",        "GRPC_SEND_START", "GRPC_SEND_END"};

// Names and bytes that are not UTF-8 must not throw.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

template <typename Stored, typename Convert>
void AppendValues(std::span<const std::byte> data, Convert convert, std::string& text) {
  for (std::size_t offset = 0; offset + sizeof(Stored) <= data.size(); offset += sizeof(Stored)) {
    Stored value;
    std::memcpy(&value, data.data() + offset, sizeof(value));
    if (offset > 0) text += ',';
    fmt::format_to(std::back_inserter(text), "{}", convert(value));
  }
}

template <typename Stored>
void AppendValues(std::span<const std::byte> data, std::string& text) {
  AppendValues<Stored>(
      data, [](Stored value) { return value; }, text);
}

// The elements in one line, with commas between.
std::string ValuesOf(const Tensor& tensor) {
  const std::span<const std::byte> data = tensor.data.data();
  std::string text;
  switch (tensor.type) {
    case DataType::kBool:
    case DataType::kUint8:
      AppendValues<std::uint8_t>(data, text);
      break;
    case DataType::kUint16:
      AppendValues<std::uint16_t>(data, text);
      break;
    case DataType::kUint32:
      AppendValues<std::uint32_t>(data, text);
      break;
    case DataType::kUint64:
      AppendValues<std::uint64_t>(data, text);
      break;
    case DataType::kInt8:
      AppendValues<std::int8_t>(data, text);
      break;
    case DataType::kInt16:
      AppendValues<std::int16_t>(data, text);
      break;
    case DataType::kInt32:
      AppendValues<std::int32_t>(data, text);
      break;
    case DataType::kInt64:
      AppendValues<std::int64_t>(data, text);
      break;
    case DataType::kFp16:
      AppendValues<std::uint16_t>(data, FromFp16, text);
      break;
    case DataType::kBf16:
      AppendValues<std::uint16_t>(data, FromBf16, text);
      break;
    case DataType::kFp32:
      AppendValues<float>(data, text);
      break;
    case DataType::kFp64:
      AppendValues<double>(data, text);
      break;
    case DataType::kBytes:
      if (const auto elements = SplitBytesTensor(data, ElementCount(tensor.shape).value_or(0))) {
        text = fmt::format("{}", fmt::join(*elements, ","));
      }
      break;
  }
  return text;
}

void AppendTensor(const Trace& trace, std::string_view activity, const Tensor& tensor,
                  std::string& text) {
  const std::string shape = ToString(tensor.shape);
  fmt::format_to(
      std::back_inserter(text),
      R"(,{}{{"id":{},"activity":"{}","tensor":{{"name":{},"data":{},"shape":"{}","dtype":"{}"}}}})",
      '\n', trace.id, activity, Quoted(tensor.name), Quoted(ValuesOf(tensor)),
      std::string_view(shape).substr(1, shape.size() - 2), ToString(tensor.type));
}

}  // namespace

std::string_view ToString(TracePoint point) { return kNames[static_cast<std::size_t>(point)]; }

void AppendTrace(const Trace& trace, std::string& text) {
  fmt::format_to(std::back_inserter(text),
                 R"({{"id":{},"model_name":{},"model_version":{},"request_id":{})", trace.id,
                 Quoted(trace.model), trace.version, Quoted(trace.request));
  if (trace.timestamps) {
    text += R"(,"timestamps":[)";
    bool first = true;
    for (std::size_t i = 0; i < kTracePointCount; ++i) {
      if (trace.times[i] == TimePoint()) continue;
      if (!std::exchange(first, false)) text += ',';
      fmt::format_to(std::back_inserter(text), R"({{"name":"{}","ns":{}}})", kNames[i],
                     ToNanos(trace.times[i]));
    }
    text += ']';
  }
  text += '}';
  for (const Tensor& input : trace.inputs) AppendTensor(trace, "TENSOR_QUEUE_INPUT", input, text);
  for (const Tensor& output : trace.outputs) {
    AppendTensor(trace, "TENSOR_BACKEND_OUTPUT", output, text);
  }
}

void TraceEnd::operator()(Trace* trace) const { tracer->Write(std::unique_ptr<Trace>(trace)); }

}  // namespace duly
