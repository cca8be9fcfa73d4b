// SPDX-License-Identifier: Apache-2.0
//
// config.pbtxt, and the JSON that clients send in its place. A fault has a place in the text; a
// configuration that is accepted is the same when it is printed and read again, in both forms.
#include "repository/model_config.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>
#include <model_config.pb.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/check.h"

namespace duly {
namespace {

namespace pb = google::protobuf;

bool SamePolicy(const QueuePolicy& a, const QueuePolicy& b) {
  return a.max_requests == b.max_requests && a.default_timeout == b.default_timeout &&
         a.allow_timeout_override == b.allow_timeout_override && a.on_timeout == b.on_timeout;
}

bool SameBatching(const std::optional<DynamicBatching>& a,
                  const std::optional<DynamicBatching>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->preferred_rows == b->preferred_rows && a->max_queue_delay == b->max_queue_delay &&
         SamePolicy(a->queue, b->queue) && a->default_level == b->default_level &&
         std::equal(a->levels.begin(), a->levels.end(), b->levels.begin(), b->levels.end(),
                    SamePolicy);
}

bool Same(const ModelConfigFile& a, const ModelConfigFile& b) {
  const ModelSpec& x = a.spec;
  const ModelSpec& y = b.spec;
  return x.platform == y.platform && x.backend == y.backend && x.max_rows == y.max_rows &&
         x.rows_from_file == y.rows_from_file && x.inputs == y.inputs && x.outputs == y.outputs &&
         x.slo == y.slo && x.timeout == y.timeout && x.instances == y.instances &&
         x.warmup_runs == y.warmup_runs && x.response_cache == y.response_cache &&
         x.parameters == y.parameters && x.label_files == y.label_files && x.formats == y.formats &&
         SameBatching(x.dynamic_batching, y.dynamic_batching) &&
         x.warmup_samples.size() == y.warmup_samples.size() && a.versions.kind == b.versions.kind &&
         a.versions.latest == b.versions.latest && a.versions.specific == b.versions.specific &&
         a.model_filename == b.model_filename;
}

void CheckFaults(const Faults& faults, const std::string& text) {
  const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
  for (const Fault& fault : faults.all()) {
    DULY_CHECK(fault.file == "config.pbtxt" && !fault.what.empty());
    DULY_CHECK(fault.line >= 0 && fault.line <= lines && fault.column >= 0);
  }
}

void Read(const std::string& text) {
  Faults faults;
  const ModelConfigFile read = ParseModelConfig(text, "config.pbtxt", "m", faults);
  CheckFaults(faults, text);
  if (!faults.empty()) return;
  inference::ModelConfig message;
  DULY_CHECK(pb::TextFormat::ParseFromString(text, &message));
  std::string printed;
  DULY_CHECK(pb::TextFormat::PrintToString(message, &printed));
  DULY_CHECK(Same(read, ParseModelConfig(printed, "config.pbtxt", "m", faults)));
  std::string json;
  if (pb::util::MessageToJsonString(message, &json).ok()) {
    DULY_CHECK(Same(read, ParseModelConfigJson(json, "config.pbtxt", "m", faults)));
  }
  DULY_CHECK(faults.empty());
}

}  // namespace
}  // namespace duly

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  // The JSON of clients begins so.
  if (text.starts_with('{')) {
    duly::Faults faults;
    duly::ParseModelConfigJson(text, "config.pbtxt", "m", faults);
    duly::CheckFaults(faults, text);
  } else {
    duly::Read(text);
  }
  return 0;
}
