// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "server/infer_call.h"

namespace duly {

// What the node relies on in a request that was accepted, whatever the protocol.
inline void CheckAccepted(const InferCall& call) {
  const InferRequest& request = call.request;
  DULY_CHECK(request.model != nullptr && call.format.model == request.model);
  const ModelSpec& model = request.model->spec;
  DULY_CHECK(request.inputs.size() == model.inputs.size());
  for (std::size_t i = 0; i < model.inputs.size(); ++i) {
    const TensorSpec& spec = model.inputs[i];
    const Tensor& tensor = request.inputs[i];
    DULY_CHECK(tensor.name == spec.name && tensor.type == spec.type);
    DULY_CHECK(tensor.shape.size() == spec.shape.size());
    for (std::size_t d = 0; d < spec.shape.size(); ++d) {
      DULY_CHECK(tensor.shape[d] >= 0);
      DULY_CHECK(spec.shape[d] < 0 || spec.shape[d] == tensor.shape[d]);
    }
    if (model.max_rows > 0) {
      DULY_CHECK(tensor.shape[0] == request.rows && request.rows >= 1);
      DULY_CHECK(request.rows <= model.max_rows);
    }
    const std::optional<std::int64_t> elements = ElementCount(tensor.shape);
    DULY_CHECK(elements.has_value());
    const std::span<const std::byte> data = tensor.data.data();
    if (tensor.type == DataType::kBytes) {
      DULY_CHECK(SplitBytesTensor(data, *elements).has_value());
    } else {
      DULY_CHECK(data.size() == static_cast<std::size_t>(*elements) * ElementSize(tensor.type));
      DULY_CHECK(reinterpret_cast<std::uintptr_t>(data.data()) % ElementSize(tensor.type) == 0);
    }
    if (tensor.type == DataType::kBool) {
      DULY_CHECK(std::ranges::all_of(data, [](std::byte b) { return b <= std::byte{1}; }));
    }
  }
  for (const std::uint32_t output : request.wanted_outputs) {
    DULY_CHECK(output < model.outputs.size());
    DULY_CHECK(std::ranges::count(request.wanted_outputs, output) == 1);
  }
  DULY_CHECK(!request.slo || *request.slo > Duration(0));
  DULY_CHECK(!request.timeout || *request.timeout > Duration(0));
  DULY_CHECK(!request.min_accuracy_pct ||
             (*request.min_accuracy_pct >= 0 && *request.min_accuracy_pct <= 100));
}

// A failure that a client can cause has a code that says so, and words.
inline void CheckRefused(const Status& status) {
  DULY_CHECK(!status.message().empty());
  DULY_CHECK(status.code() == StatusCode::kInvalidArgument ||
             status.code() == StatusCode::kNotFound ||
             status.code() == StatusCode::kUnimplemented ||
             status.code() == StatusCode::kResourceExhausted);
}

}  // namespace duly
