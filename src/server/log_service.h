// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <inference.pb.h>

#include "base/result.h"

namespace duly {

// The log's settings, in the messages of Triton's extension. Those that the request names are
// changed first, all or none of them; the response has all as they are then:
//   log_info, log_warning, log_error  whether such messages are written
//   log_verbose_level                 0: neither, 1: debug messages, more: those and traces
//   log_format                        "default" or "ISO8601", the form of the time
//   log_file                          "", standard error; cannot be changed
// kInvalidArgument says what cannot be set. Threading: from any thread.
Result<inference::LogSettingsResponse> UpdateLogSettings(
    const inference::LogSettingsRequest& request);

}  // namespace duly
