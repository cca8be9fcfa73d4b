// SPDX-License-Identifier: Apache-2.0
#include "server/http_inflate.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "server/inflater.h"

namespace duly {
namespace {

constexpr std::size_t kFirstBytes = std::size_t{64} << 10;

// RFC 1950, 2.2: the method is 8, the window at most 32 KiB, and both bytes a multiple of 31.
// Compressors do not begin a bare stream so.
DeflateFormat FormatOf(ContentCoding coding, std::span<const std::byte> coded) {
  if (coding == ContentCoding::kGzip) return DeflateFormat::kGzip;
  if (coded.size() < 2) return DeflateFormat::kZlib;
  const int method = std::to_integer<int>(coded[0]);
  const bool zlib = (method & 15) == 8 && method >> 4 <= 7 &&
                    (method * 256 + std::to_integer<int>(coded[1])) % 31 == 0;
  return zlib ? DeflateFormat::kZlib : DeflateFormat::kBare;
}

HttpFault NoMemory() { return {503, "the server has no memory left for the body"}; }

}  // namespace

std::optional<HttpFault> InflateBody(ContentCoding coding, std::span<const std::byte> coded,
                                     std::size_t json_size, const HttpLimits& limits,
                                     const std::shared_ptr<MemoryBudget>& budget, HttpBody& body) {
  const std::string_view name = ToString(coding);
  Inflater inflater(FormatOf(coding, coded));
  const std::size_t first = std::max(kFirstBytes, 4 * coded.size());
  if (!inflater.ready() || !body.Start(budget, json_size, std::min(first, limits.body_bytes))) {
    return NoMemory();
  }
  std::byte beyond{};
  int code = Z_OK;
  while (code == Z_OK) {
    if (body.unfilled().empty() && body.size() < limits.body_bytes &&
        !body.Grow(std::min(2 * body.size(), limits.body_bytes))) {
      return NoMemory();
    }
    const bool full = body.unfilled().empty();
    std::span<std::byte> out = full ? std::span(&beyond, 1) : body.unfilled();
    const std::size_t room = out.size();
    code = inflater.Step(coded, out);
    const std::size_t filled = room - out.size();
    if (full && filled > 0) {
      return HttpFault{413, fmt::format("the body has more than {} bytes when it is decompressed: "
                                        "the server accepts no more",
                                        limits.body_bytes)};
    }
    if (!full) body.Fill(filled);
  }
  if (code == Z_MEM_ERROR) return NoMemory();
  // There was room: what lacks is input.
  if (code == Z_BUF_ERROR) {
    return HttpFault{400, fmt::format("the body ends within its {} stream", name)};
  }
  if (code != Z_STREAM_END) {
    return HttpFault{
        400, fmt::format("the body is not a valid {} stream: {}", name, inflater.message())};
  }
  if (!coded.empty()) {
    return HttpFault{400, fmt::format("{} bytes follow the end of the body's {} stream: "
                                      "expected one stream and nothing else",
                                      coded.size(), name)};
  }
  return std::nullopt;
}

}  // namespace duly
