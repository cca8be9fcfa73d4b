// SPDX-License-Identifier: Apache-2.0
#include "server/repository_json.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

namespace duly {
namespace {

// kMaxBodyDepth: of requests as a whole (serve.md); what is deeper is no parameter.
constexpr int kMaxBodyDepth = 100;
// A value of two bytes takes many times that in memory, and no request has more.
constexpr std::size_t kMaxValues = 10'000;

// Before it is parsed: the library would take memory for all of it first. In what is no JSON, too,
// it finds as much nesting and as many values as the parser can.
Status CheckSize(std::string_view body) {
  int depth = 0;
  std::size_t values = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_text) {
      if (c == '\\') ++i;
      if (c == '"') in_text = false;
      continue;
    }
    if (c == '"') in_text = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (c == '[' || c == '{' || c == ',') ++values;
    if (depth > kMaxBodyDepth) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("the body is nested deeper than {}", kMaxBodyDepth));
    }
    if (values > kMaxValues) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("the body has more than {} values", kMaxValues));
    }
  }
  return Status();
}

// Standard alphabet, padded. Nothing when it is not that.
std::optional<std::string> DecodeBase64(std::string_view text) {
  static constexpr auto kValues = [] {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    std::int8_t value = 0;
    for (const char c :
         std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")) {
      values[static_cast<unsigned char>(c)] = value++;
    }
    return values;
  }();
  if (text.size() % 4 != 0) return std::nullopt;
  while (!text.empty() && text.back() == '=' && text.size() % 4 != 2) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::int8_t value = kValues[static_cast<unsigned char>(c)];
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xFF);
  }
  // What is left over is padding, which says nothing.
  if ((bits & ((1U << count) - 1)) != 0) return std::nullopt;
  return bytes;
}

template <typename Parameters>
Status ReadParameters(const nlohmann::json& json, Parameters& parameters) {
  const auto fault = [](const std::string& name, std::string_view expected) {
    return Status(StatusCode::kInvalidArgument,
                  "parameter '" + name + "': expected " + std::string(expected));
  };
  const auto found = json.find("parameters");
  if (found == json.end()) return Status();
  if (!found->is_object()) {
    return Status(StatusCode::kInvalidArgument, "'parameters': expected an object");
  }
  for (const auto& [name, value] : found->items()) {
    auto& parameter = parameters[name];
    if (value.is_string() && name.starts_with("file:")) {
      std::optional<std::string> bytes = DecodeBase64(value.template get_ref<const std::string&>());
      if (!bytes) return fault(name, "the file in base64");
      parameter.set_bytes_param(std::move(*bytes));
    } else if (value.is_string()) {
      parameter.set_string_param(value.template get<std::string>());
    } else if (value.is_boolean()) {
      parameter.set_bool_param(value.template get<bool>());
    } else if (value.is_number_integer()) {
      parameter.set_int64_param(value.template get<std::int64_t>());
    } else {
      return fault(name, "a string, a whole number, true or false");
    }
  }
  return Status();
}

}  // namespace

Result<nlohmann::json> ReadJsonObject(std::string_view body) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) return nlohmann::json::object();
  DULY_RETURN_IF_ERROR(CheckSize(body));
  const nlohmann::json json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object()) {
    return Error(StatusCode::kInvalidArgument, "the body is not a JSON object");
  }
  return json;
}

Result<inference::RepositoryIndexRequest> ReadIndexRequest(std::string_view body) {
  DULY_ASSIGN_OR_RETURN(const nlohmann::json json, ReadJsonObject(body));
  inference::RepositoryIndexRequest request;
  const auto ready = json.find("ready");
  if (ready == json.end()) return request;
  if (!ready->is_boolean()) {
    return Error(StatusCode::kInvalidArgument, "'ready': expected true or false");
  }
  request.set_ready(ready->get<bool>());
  return request;
}

Result<inference::RepositoryModelLoadRequest> ReadLoadRequest(std::string_view body) {
  DULY_ASSIGN_OR_RETURN(const nlohmann::json json, ReadJsonObject(body));
  inference::RepositoryModelLoadRequest request;
  DULY_RETURN_IF_ERROR(ReadParameters(json, *request.mutable_parameters()));
  return request;
}

Result<inference::RepositoryModelUnloadRequest> ReadUnloadRequest(std::string_view body) {
  DULY_ASSIGN_OR_RETURN(const nlohmann::json json, ReadJsonObject(body));
  inference::RepositoryModelUnloadRequest request;
  DULY_RETURN_IF_ERROR(ReadParameters(json, *request.mutable_parameters()));
  return request;
}

Result<inference::LogSettingsRequest> ReadLogSettingsRequest(std::string_view body) {
  DULY_ASSIGN_OR_RETURN(const nlohmann::json json, ReadJsonObject(body));
  inference::LogSettingsRequest request;
  for (const auto& [name, value] : json.items()) {
    auto& setting = (*request.mutable_settings())[name];
    if (value.is_boolean()) {
      setting.set_bool_param(value.get<bool>());
    } else if (value.is_number_unsigned() &&
               value.get<std::uint64_t>() <= std::numeric_limits<std::uint32_t>::max()) {
      setting.set_uint32_param(value.get<std::uint32_t>());
    } else if (value.is_string()) {
      setting.set_string_param(value.get<std::string>());
    } else {
      return Error(StatusCode::kInvalidArgument,
                   "log setting '{}': expected a string, a whole number, true or false", name);
    }
  }
  return request;
}

Result<inference::TraceSettingRequest> ReadTraceSettingRequest(std::string_view body) {
  DULY_ASSIGN_OR_RETURN(const nlohmann::json json, ReadJsonObject(body));
  inference::TraceSettingRequest request;
  for (const auto& [name, value] : json.items()) {
    auto& setting = (*request.mutable_settings())[name];
    if (value.is_null()) continue;
    const nlohmann::json values = value.is_array() ? value : nlohmann::json::array({value});
    for (const nlohmann::json& element : values) {
      if (element.is_string()) setting.add_value(element.get<std::string>());
    }
    if (setting.value().empty() || setting.value_size() != static_cast<int>(values.size())) {
      return Error(StatusCode::kInvalidArgument,
                   "trace setting '{}': expected a string, an array of strings, or null", name);
    }
  }
  return request;
}

}  // namespace duly
