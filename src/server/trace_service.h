// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <inference.pb.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"
#include "telemetry/tracer.h"

namespace duly {

// The trace settings of a model, or of all when it names none, in the messages of Triton's
// extension. Those that the request names are changed first, all or none of them; the response has
// all as they are then. A setting without a value is cleared (Tracer):
//   trace_level    OFF, or TIMESTAMPS and TENSORS
//   trace_rate     every so manyth request is traced; from 1
//   trace_count    so many more; -1: without end
//   log_frequency  traces of one file, whose name gets a number; 0: all
//   trace_file     where they are written; see Tracer::Update
//   trace_mode     "triton"; cannot be changed
// kInvalidArgument says what cannot be set. Threading: from any thread.
Result<inference::TraceSettingResponse> UpdateTraceSettings(
    const inference::TraceSettingRequest& request, Tracer& tracer);

// What the command line says: "rate=100", "triton,file=FILE", ... for the settings, "dir=DIR" for
// TracerOptions::folder. kInvalidArgument says what is wrong.
Status ReadTraceFlag(std::string_view text, TracerOptions& options);

// As HTTP has it: {"trace_level": ["TIMESTAMPS"], "trace_rate": "1", ...}.
nlohmann::ordered_json ToTraceJson(const inference::TraceSettingResponse& response);

}  // namespace duly
