// SPDX-License-Identifier: Apache-2.0
#include "server/trace_service.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <string>
#include <utility>
#include <vector>
namespace duly {
namespace {

using TraceValue = inference::TraceSettingRequest::SettingValue;

constexpr std::string_view kTriton = "triton";
// As Triton's answers have them.
constexpr std::array<const char*, 6> kNames{"trace_level",   "trace_rate", "trace_count",
                                            "log_frequency", "trace_file", "trace_mode"};

Status BadSetting(std::string_view name, std::string_view expected) {
  return Status(StatusCode::kInvalidArgument,
                fmt::format("trace setting '{}': expected {}", name, expected));
}

Result<TraceLevels> ReadLevels(const TraceValue& value) {
  TraceLevels levels;
  for (const std::string& level : value.value()) {
    if (level == "TIMESTAMPS") {
      levels.timestamps = true;
    } else if (level == "TENSORS") {
      levels.tensors = true;
    } else if (level != "OFF") {
      return Error(BadSetting("trace_level", "OFF, TIMESTAMPS or TENSORS"));
    } else if (value.value_size() > 1) {
      return Error(BadSetting("trace_level", "only one trace level 'OFF', or others without it"));
    }
  }
  return levels;
}

template <typename T>
Result<T> ReadNumber(std::string_view name, const TraceValue& value, T least) {
  T number = 0;
  if (value.value_size() == 1) {
    const std::string& text = value.value(0);
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error == std::errc() && stop == end && number >= least) return number;
  }
  return Error(BadSetting(name, fmt::format("one whole number from {}, as text", least)));
}

// A setting that is named without values is cleared.
template <typename T, typename Read>
Status Change(const TraceValue& value, NewSetting<T>& setting, Read read) {
  setting.emplace();
  if (value.value().empty()) return Status();
  Result<T> read_value = read();
  if (!read_value) return read_value.error();
  *setting = std::move(*read_value);
  return Status();
}

Status Change(const std::string& name, const TraceValue& value, TraceChange& change) {
  if (name == "trace_level") return Change(value, change.levels, [&] { return ReadLevels(value); });
  if (name == "trace_rate") {
    return Change(value, change.rate, [&] { return ReadNumber<std::uint64_t>(name, value, 1); });
  }
  if (name == "trace_count") {
    return Change(value, change.count, [&] { return ReadNumber<std::int64_t>(name, value, -1); });
  }
  if (name == "log_frequency") {
    return Change(value, change.per_file,
                  [&] { return ReadNumber<std::uint64_t>(name, value, 0); });
  }
  if (name == "trace_file") {
    return Change(value, change.file, [&]() -> Result<std::string> {
      if (value.value_size() != 1) return Error(BadSetting(name, "one text"));
      return value.value(0);
    });
  }
  if (name == "trace_mode") {
    const bool is_triton = value.value_size() == 1 && value.value(0) == kTriton;
    return value.value().empty() || is_triton
               ? Status()
               : BadSetting(name, "triton: there is no other, opentelemetry neither");
  }
  return Status(StatusCode::kInvalidArgument,
                fmt::format("unknown trace setting '{}': expected trace_level, trace_rate, "
                            "trace_count, log_frequency, trace_file or trace_mode",
                            name));
}

}  // namespace

Result<inference::TraceSettingResponse> UpdateTraceSettings(
    const inference::TraceSettingRequest& request, Tracer& tracer) {
  TraceChange change;
  for (const auto& [name, value] : request.settings()) {
    DULY_RETURN_IF_ERROR(Change(name, value, change));
  }
  TraceSettings settings;
  if (request.settings().empty()) {
    settings = tracer.SettingsOf(request.model_name());
  } else {
    DULY_ASSIGN_OR_RETURN(settings, tracer.Update(request.model_name(), change));
  }
  inference::TraceSettingResponse response;
  auto& all = *response.mutable_settings();
  auto& levels = all["trace_level"];
  if (settings.levels.timestamps) levels.add_value("TIMESTAMPS");
  if (settings.levels.tensors) levels.add_value("TENSORS");
  if (!settings.levels.on()) levels.add_value("OFF");
  all["trace_rate"].add_value(std::to_string(settings.rate));
  all["trace_count"].add_value(std::to_string(settings.count));
  all["log_frequency"].add_value(std::to_string(settings.per_file));
  all["trace_file"].add_value(settings.file);
  all["trace_mode"].add_value(std::string(kTriton));
  return response;
}

Status ReadTraceFlag(std::string_view text, TracerOptions& options) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kFlags{
      {{"level", "trace_level"},
       {"rate", "trace_rate"},
       {"count", "trace_count"},
       {"log-frequency", "log_frequency"},
       {"file", "trace_file"},
       {"mode", "trace_mode"}}};
  if (text.starts_with("triton,")) text.remove_prefix(text.find(',') + 1);
  const std::size_t equals = text.find('=');
  const std::string_view key = text.substr(0, equals);
  if (equals != std::string_view::npos && equals + 1 < text.size()) {
    const std::string value(text.substr(equals + 1));
    if (key == "dir") {
      options.folder = value;
      return Status();
    }
    for (const auto& [flag, name] : kFlags) {
      if (flag != key) continue;
      TraceValue setting;
      setting.add_value(value);
      TraceChange change;
      if (Status status = Change(std::string(name), setting, change); !status.ok()) return status;
      TraceSettings& start = options.start;
      // Given once for each level.
      if (change.levels) {
        start.levels.timestamps |= (*change.levels)->timestamps;
        start.levels.tensors |= (*change.levels)->tensors;
      }
      if (change.rate) start.rate = **change.rate;
      if (change.count) start.count = **change.count;
      if (change.per_file) start.per_file = **change.per_file;
      if (change.file) start.file = **change.file;
      return Status();
    }
  }
  return Status(StatusCode::kInvalidArgument,
                fmt::format("--trace-config {}: expected level=, rate=, count=, file=, dir=, "
                            "log-frequency= or mode= with a value",
                            text));
}

nlohmann::ordered_json ToTraceJson(const inference::TraceSettingResponse& response) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const char* const name : kNames) {
    const auto& values = response.settings().at(name).value();
    if (std::string_view(name) == "trace_level") {
      json[name] = std::vector<std::string>(values.begin(), values.end());
    } else {
      json[name] = values.Get(0);
    }
  }
  return json;
}

}  // namespace duly
