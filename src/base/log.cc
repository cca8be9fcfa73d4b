// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "base/log_settings.h"
#include "base/mutex.h"

namespace duly {
namespace {

// %v with what JSON forbids escaped.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    for (const char c : std::string_view(message.payload.data(), message.payload.size())) {
      if (c == '"' || c == '\\') {
        out.push_back('\\');
        out.push_back(c);
      } else if (static_cast<unsigned char>(c) < 0x20) {
        fmt::format_to(fmt::appender(out), "\\u{:04x}", static_cast<unsigned>(c));
      } else {
        out.push_back(c);
      }
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMessage>();
  }
};

std::unique_ptr<spdlog::formatter> MakeFormatter(LogFormat format, const LogSettings& settings) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (format == LogFormat::kJson) {
    formatter->add_flag<JsonMessage>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%f%z","level":"%l","message":"%*"})");
  } else {
    formatter->set_pattern(settings.full_time ? "%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v"
                                              : "%H:%M:%S.%e %^%l%$ %v");
  }
  return formatter;
}

// spdlog has one threshold; here each level is on or off by itself.
class Logger final : public spdlog::logger {
 public:
  Logger(LogFormat format, const LogSettings& settings)
      : spdlog::logger("duly", std::make_shared<spdlog::sinks::stderr_color_sink_mt>()),
        format_(format) {
    Apply(settings);
  }

  LogSettings settings() const DULY_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return settings_;
  }

  Status Change(const LogSettings& settings) {
    if (format_ == LogFormat::kJson && !settings.full_time) {
      return Status(StatusCode::kInvalidArgument, "a JSON log has full times always");
    }
    Apply(settings);
    return Status();
  }

 private:
  void Apply(const LogSettings& settings) DULY_EXCLUDES(mutex_) {
    namespace level = spdlog::level;
    const MutexLock lock(mutex_);
    settings_ = settings;
    const std::array<std::pair<level::level_enum, bool>, 6> levels{
        {{level::trace, settings.verbose > 1},
         {level::debug, settings.verbose > 0},
         {level::info, settings.info},
         {level::warn, settings.warning},
         {level::err, settings.error},
         {level::critical, settings.error}}};
    unsigned on = 0;
    for (const auto& [level, enabled] : levels) on |= enabled ? 1U << level : 0U;
    on_.store(on, std::memory_order_relaxed);
    // What is below the lowest is dropped before it is formatted.
    const auto lowest =
        std::find_if(levels.begin(), levels.end(), [](auto& l) { return l.second; });
    set_level(lowest == levels.end() ? level::off : lowest->first);
    set_formatter(MakeFormatter(format_, settings));
  }

  void sink_it_(const spdlog::details::log_msg& message) override {
    if ((on_.load(std::memory_order_relaxed) >> message.level & 1) != 0) {
      spdlog::logger::sink_it_(message);
    }
  }

  const LogFormat format_;
  std::atomic<unsigned> on_{0};  // a bit for each level
  mutable Mutex mutex_;
  LogSettings settings_ DULY_GUARDED_BY(mutex_);
};

Result<std::shared_ptr<Logger>> TheLogger() {
  auto logger = std::dynamic_pointer_cast<Logger>(spdlog::default_logger());
  if (logger == nullptr) return Error(StatusCode::kFailedPrecondition, "the log is not set up");
  return logger;
}

}  // namespace

Result<LogSettings> CurrentLogSettings() {
  DULY_ASSIGN_OR_RETURN(const std::shared_ptr<Logger> logger, TheLogger());
  return logger->settings();
}

Status ChangeLogSettings(const LogSettings& settings) {
  const Result<std::shared_ptr<Logger>> logger = TheLogger();
  return logger ? (*logger)->Change(settings) : logger.error();
}

Status SetUpLog(std::string_view level, LogFormat format) {
  const std::string name(level);
  const spdlog::level::level_enum parsed = spdlog::level::from_str(name);
  if (parsed == spdlog::level::off && name != "off") {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("unknown log level '{}': expected trace, debug, info, warning, error "
                              "or off",
                              name));
  }
  LogSettings settings;
  settings.error = parsed <= spdlog::level::critical;
  settings.warning = parsed <= spdlog::level::warn;
  settings.info = parsed <= spdlog::level::info;
  settings.verbose = parsed == spdlog::level::trace ? 2 : parsed == spdlog::level::debug ? 1 : 0;
  settings.full_time = format == LogFormat::kJson;
  spdlog::set_default_logger(std::make_shared<Logger>(format, settings));
  return Status();
}

}  // namespace duly
