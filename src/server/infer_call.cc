// SPDX-License-Identifier: Apache-2.0
#include "server/infer_call.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/classification.h"
#include "server/outcome_codes.h"

namespace duly {
namespace {

// Writes the outputs that the client wants in shared memory there, and leaves them without data.
Status PlaceOutputs(const InferReplyFormat& format, InferResponse& response) {
  for (std::size_t i = 0; i < std::min(format.places.size(), response.outputs.size()); ++i) {
    if (!format.InSharedMemory(i)) continue;
    const SharedMemoryPlace& place = format.places[i];
    Tensor& output = response.outputs[i];
    Status status;
    if (output.data.size() > place.bytes) {
      status = Status(
          StatusCode::kInvalidArgument,
          fmt::format("{} bytes: expected at most the shared_memory_byte_size {} in region '{}'",
                      output.data.size(), place.bytes, place.region->name()));
    } else {
      status = place.region->Write(place.offset, output.data.data());
    }
    if (!status.ok()) return status.WithContext(fmt::format("output '{}'", output.name));
    output.data = Buffer();
  }
  return Status();
}

}  // namespace

void AddToTrace(const InferResponse& response, TimePoint now, Trace& trace) {
  const InferReport& report = response.report;
  const TimePoint started = report.ended - report.compute;
  trace.Mark(TracePoint::kQueueStart, started - report.queue);
  if (!report.device.empty()) {
    // The executor measures durations. The last of them ends with the batch; what is not measured,
    // the way to the executor, is input.
    const TimePoint output = std::max(started, report.ended - report.output);
    trace.Mark(TracePoint::kComputeStart, started);
    trace.Mark(TracePoint::kComputeInputEnd, std::max(started, output - report.infer));
    trace.Mark(TracePoint::kComputeOutputStart, output);
    trace.Mark(TracePoint::kComputeEnd, report.ended);
  }
  trace.Mark(TracePoint::kRequestEnd, now);
  if (trace.tensors) trace.outputs = response.outputs;
}

Status Conclude(const InferReplyFormat& format, InferResponse& response) {
  const ModelSpec& model = format.model->spec;
  Status status = StatusOf(response, model.name);
  if (!status.ok()) return status;
  for (std::size_t i = 0; i < std::min(format.classes.size(), response.outputs.size()); ++i) {
    if (format.classes[i] == 0) continue;
    Result<Tensor> classified = Classify(model, response.outputs[i], format.classes[i]);
    if (!classified) return std::move(classified).error();
    response.outputs[i] = std::move(*classified);
  }
  return PlaceOutputs(format, response);
}

std::vector<std::pair<std::string_view, ParameterValue>> ReportOf(const InferResponse& response) {
  const auto micros = [](Duration d) { return std::int64_t{d.count() / 1000}; };
  const InferReport& report = response.report;
  std::vector<std::pair<std::string_view, ParameterValue>> items;
  items.reserve(9);
  items.emplace_back("outcome", ToString(response.outcome));
  if (response.reason != RejectReason::kNone) {
    items.emplace_back("reason", ToString(response.reason));
  }
  if (!report.device.empty()) {
    items.emplace_back("variant", report.variant);
    if (report.accuracy_pct) items.emplace_back("accuracy", *report.accuracy_pct);
    items.emplace_back("device", report.device);
    items.emplace_back("batch_rows", std::int64_t{report.batch_rows});
    if (report.cached) items.emplace_back("cached", true);
    items.emplace_back("queue_us", micros(report.queue));
    items.emplace_back("compute_us", micros(report.compute));
  }
  if (report.predicted > Duration(0)) items.emplace_back("predicted_us", micros(report.predicted));
  return items;
}

}  // namespace duly
