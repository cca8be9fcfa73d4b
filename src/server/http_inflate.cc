// SPDX-License-Identifier: Apache-2.0
#include "server/http_inflate.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

namespace duly {
namespace {

constexpr int kGzipWindow = MAX_WBITS + 16;
constexpr int kBareWindow = -MAX_WBITS;
constexpr std::size_t kFirstBytes = std::size_t{64} << 10;
// zlib counts in 32 bits.
constexpr std::size_t kMaxStep = std::numeric_limits<uInt>::max();

// RFC 1950, 2.2: the method is 8, the window at most 32 KiB, and both bytes a multiple of 31.
// Compressors do not begin a bare stream so.
bool HasZlibHeader(std::span<const std::byte> coded) {
  if (coded.size() < 2) return false;
  const int method = std::to_integer<int>(coded[0]);
  return (method & 15) == 8 && method >> 4 <= 7 &&
         (method * 256 + std::to_integer<int>(coded[1])) % 31 == 0;
}

class Inflater {
 public:
  explicit Inflater(int window) : ready_(inflateInit2(&stream_, window) == Z_OK) {}
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  bool ready() const { return ready_; }
  const char* message() const { return stream_.msg; }

  // Takes what it reads off `in` and what it fills off `out`; returns what inflate says.
  int Step(std::span<const std::byte>& in, std::span<std::byte>& out) {
    const std::size_t given = std::min(in.size(), kMaxStep);
    const std::size_t room = std::min(out.size(), kMaxStep);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
    stream_.avail_in = static_cast<uInt>(given);
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(room);
    const int code = inflate(&stream_, Z_NO_FLUSH);
    in = in.subspan(given - stream_.avail_in);
    out = out.subspan(room - stream_.avail_out);
    return code;
  }

 private:
  z_stream stream_{};
  bool ready_;
};

HttpFault NoMemory() { return {503, "the server has no memory left for the body"}; }

}  // namespace

std::optional<HttpFault> InflateBody(ContentCoding coding, std::span<const std::byte> coded,
                                     std::size_t json_size, const HttpLimits& limits,
                                     const std::shared_ptr<MemoryBudget>& budget, HttpBody& body) {
  const std::string_view name = ToString(coding);
  const auto bare = coding == ContentCoding::kDeflate && !HasZlibHeader(coded);
  Inflater inflater(coding == ContentCoding::kGzip ? kGzipWindow : bare ? kBareWindow : MAX_WBITS);
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
    const char* const reason = inflater.message();
    return HttpFault{400, fmt::format("the body is not a valid {} stream: {}", name,
                                      reason != nullptr ? reason : "it needs a dictionary")};
  }
  if (!coded.empty()) {
    return HttpFault{400, fmt::format("{} bytes follow the end of the body's {} stream: "
                                      "expected one stream and nothing else",
                                      coded.size(), name)};
  }
  return std::nullopt;
}

}  // namespace duly
