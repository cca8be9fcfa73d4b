// SPDX-License-Identifier: Apache-2.0
//
// A decoded inference request, and what its answer says, whatever the protocol.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/infer.h"
#include "server/infer_builder.h"
#include "server/shared_memory.h"
#include "telemetry/trace.h"

namespace duly {

// What the answer to a request must look like.
struct InferReplyFormat {
  enum class Form : std::uint8_t {
    kInfer,
    kGenerate,  // HTTP: outputs as members
    kEvent,     // HTTP: the same, as an event of a stream
  };
  std::shared_ptr<const ServedModel> model;
  std::string id;  // empty: the client gave none
  bool report = false;
  Form form = Form::kInfer;
  std::vector<bool> binary;  // HTTP: by answered output
  // By answered output; those beyond its end are in the message too.
  std::vector<SharedMemoryPlace> places;
  // By answered output: so many classes instead of the values, where it is not 0.
  std::vector<std::uint32_t> classes;

  bool InSharedMemory(std::size_t output) const {
    return output < places.size() && places[output].region != nullptr;
  }
  std::uint32_t ClassCount(std::size_t output) const {
    return output < classes.size() ? classes[output] : 0;
  }
};

struct InferCall {
  InferRequest request;
  InferReplyFormat format;
};

// Adds to the trace of a request what its answer, which the server has got `now`, tells of it.
void AddToTrace(const InferResponse& response, TimePoint now, Trace& trace);

// Makes the outputs what the client asked for: classes instead of values, and in shared memory,
// without data in the answer. A failure is what the client is told instead: that of StatusOf, or
// kInvalidArgument when an output does not fit into its memory, or the memory is gone.
Status Conclude(const InferReplyFormat& format, InferResponse& response);

// What an answer says of itself where the client asked for a report, as parameters in the order in
// which they are written. Names and texts live as long as the node.
std::vector<std::pair<std::string_view, ParameterValue>> ReportOf(const InferResponse& response);

}  // namespace duly
