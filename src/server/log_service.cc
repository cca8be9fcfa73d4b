// SPDX-License-Identifier: Apache-2.0
#include "server/log_service.h"

#include <string_view>

#include "base/log_settings.h"

namespace duly {
namespace {

using LogValue = inference::LogSettingsRequest::SettingValue;

constexpr std::string_view kDayTime = "default";
constexpr std::string_view kFullTime = "ISO8601";

Status Change(std::string_view name, const LogValue& value, LogSettings& settings) {
  const auto fault = [&](std::string_view expected) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("log setting '{}': expected {}", name, expected));
  };
  bool* const flag = name == "log_error"     ? &settings.error
                     : name == "log_warning" ? &settings.warning
                     : name == "log_info"    ? &settings.info
                                             : nullptr;
  if (flag != nullptr) {
    if (!value.has_bool_param()) return fault("true or false");
    *flag = value.bool_param();
  } else if (name == "log_verbose_level") {
    if (!value.has_uint32_param()) return fault("a whole number from 0 to 4294967295");
    settings.verbose = value.uint32_param();
  } else if (name == "log_format") {
    settings.full_time = value.string_param() == kFullTime;
    if (!settings.full_time && value.string_param() != kDayTime) return fault("default or ISO8601");
  } else if (name == "log_file") {
    if (!value.has_string_param() || !value.string_param().empty()) {
      return fault(
          "\"\": the log goes to standard error, which cannot be changed while the server runs");
    }
  } else {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("unknown log setting '{}': expected log_file, log_info, log_warning, "
                              "log_error, log_verbose_level or log_format",
                              name));
  }
  return Status();
}

}  // namespace

Result<inference::LogSettingsResponse> UpdateLogSettings(
    const inference::LogSettingsRequest& request) {
  DULY_ASSIGN_OR_RETURN(LogSettings settings, CurrentLogSettings());
  for (const auto& [name, value] : request.settings()) {
    DULY_RETURN_IF_ERROR(Change(name, value, settings));
  }
  if (!request.settings().empty()) DULY_RETURN_IF_ERROR(ChangeLogSettings(settings));
  inference::LogSettingsResponse response;
  auto& all = *response.mutable_settings();
  all["log_file"].set_string_param("");
  all["log_info"].set_bool_param(settings.info);
  all["log_warning"].set_bool_param(settings.warning);
  all["log_error"].set_bool_param(settings.error);
  all["log_verbose_level"].set_uint32_param(settings.verbose);
  all["log_format"].set_string_param(std::string(settings.full_time ? kFullTime : kDayTime));
  return response;
}

}  // namespace duly
