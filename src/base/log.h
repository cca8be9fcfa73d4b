// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

#include "base/status.h"

namespace duly {

enum class LogFormat { kText, kJson };

// Sends the log to stderr. level: trace, debug, info, warning, error, off. Called once by main,
// before the first thread. The log is for people; nothing per request above debug.
Status SetUpLog(std::string_view level, LogFormat format);

}  // namespace duly
