// SPDX-License-Identifier: Apache-2.0
//
// Bodies of the repository's, the log's and the traces' routes as the messages that gRPC has for
// them.
#pragma once

#include <inference.pb.h>

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "base/result.h"

namespace duly {

// The object that a small body is; an empty one where it is empty. Bounds depth and values before
// it takes memory.
Result<nlohmann::json> ReadJsonObject(std::string_view body);

// {"ready": true}, or nothing.
Result<inference::RepositoryIndexRequest> ReadIndexRequest(std::string_view body);

// {"parameters": {"config": "{...}", "file:1/model.onnx": "BASE64", ...}}, or nothing.
Result<inference::RepositoryModelLoadRequest> ReadLoadRequest(std::string_view body);

// {"parameters": {"unload_dependents": true}}, or nothing.
Result<inference::RepositoryModelUnloadRequest> ReadUnloadRequest(std::string_view body);

// {"log_info": true, "log_verbose_level": 1, "log_format": "default", ...}, or nothing.
Result<inference::LogSettingsRequest> ReadLogSettingsRequest(std::string_view body);

// {"trace_level": ["TIMESTAMPS"], "trace_rate": "1", "trace_count": null, ...}, or nothing. Null
// clears a setting: it comes without values.
Result<inference::TraceSettingRequest> ReadTraceSettingRequest(std::string_view body);

}  // namespace duly
