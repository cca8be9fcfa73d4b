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

namespace duly {

// What the answer to a request must look like.
struct InferReplyFormat {
  std::shared_ptr<const ServedModel> model;
  std::string id;  // empty: the client gave none
  bool report = false;
  std::vector<bool> binary;  // HTTP: by answered output
};

struct InferCall {
  InferRequest request;
  InferReplyFormat format;
};

// What an answer says of itself where the client asked for a report, as parameters in the order in
// which they are written. Names and texts live as long as the node.
std::vector<std::pair<std::string_view, ParameterValue>> ReportOf(const InferResponse& response);

}  // namespace duly
