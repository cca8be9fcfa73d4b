// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "server/content_coding.h"
#include "server/http_body.h"
#include "server/http_head.h"
#include "server/memory_budget.h"

namespace duly {

// Decompresses a request's body (kGzip or kDeflate; for the latter the bare format of RFC 1951 too,
// which some clients send). json_size: of the JSON part, decompressed, or 0 (HttpBody::Start).
//
// Stops at the first byte beyond limits.body_bytes (413): time and memory are bounded by the limit,
// however much the stream stands for. 400 when the stream is corrupt, cut off, or followed by
// anything, a second gzip member included; 503 when there is no memory for it. `body` is of use
// only without a fault.
std::optional<HttpFault> InflateBody(ContentCoding coding, std::span<const std::byte> coded,
                                     std::size_t json_size, const HttpLimits& limits,
                                     const std::shared_ptr<MemoryBudget>& budget, HttpBody& body);

}  // namespace duly
