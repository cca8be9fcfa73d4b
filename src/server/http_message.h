// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/tensor.h"
#include "server/content_coding.h"

namespace duly {

// An answer before it is put into HTTP.
struct HttpReply {
  std::uint16_t code = 200;
  std::string_view content_type = "application/json";
  std::string body;
  // Follow the body on the wire; they point into `tensors`.
  std::vector<std::span<const std::byte>> binary;
  std::vector<Tensor> tensors;
  // The body and what follows it, compressed, where they are sent so.
  ContentCoding coding = ContentCoding::kIdentity;
  Buffer coded;
  std::string_view allow;          // of 405
  std::int64_t retry_after_s = 0;  // 0: no such header
};

}  // namespace duly
