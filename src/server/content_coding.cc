// SPDX-License-Identifier: Apache-2.0
#include "server/content_coding.h"

#include <zlib.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <charconv>
#include <limits>
#include <utility>

namespace duly {
namespace {

// Incompressible answers, such as floating-point tensors, are given up after so many bytes.
constexpr std::size_t kSampleBytes = std::size_t{32} << 10;
constexpr int kGzipWindow = MAX_WBITS + 16;
constexpr int kMemoryLevel = 8;

bool Same(std::string_view a, std::string_view b) {
  return boost::beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpaces = " \t";
  const std::size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

// Up to `separator`, which is taken off the text too.
std::string_view TakeUntil(char separator, std::string_view& text) {
  const std::string_view taken = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(taken.size() + 1, text.size()));
  return Trim(taken);
}

ContentCoding CodingByName(std::string_view name) {
  if (Same(name, "gzip") || Same(name, "x-gzip")) return ContentCoding::kGzip;
  if (Same(name, "deflate")) return ContentCoding::kDeflate;
  if (Same(name, "identity")) return ContentCoding::kIdentity;
  return ContentCoding::kUnknown;
}

// "q=0.5" in thousandths; what says something else is no wish.
std::uint16_t WeightOf(std::string_view parameter) {
  if (parameter.empty()) return 1000;
  const std::string_view name = TakeUntil('=', parameter);
  const std::string_view value = Trim(parameter);
  double weight = 0;
  const char* const end = value.data() + value.size();
  const std::from_chars_result parsed = std::from_chars(value.data(), end, weight);
  const bool valid = Same(name, "q") && parsed.ec == std::errc() && parsed.ptr == end;
  return valid && weight >= 0 && weight <= 1 ? static_cast<std::uint16_t>(weight * 1000 + 0.5) : 0;
}

class Deflater {
 public:
  // The output may be as large as `room`.
  Deflater(ContentCoding coding, std::span<std::byte> room) : room_(room) {
    // The fastest level: a server's answers are paid for in latency before they save any.
    ready_ = deflateInit2(&stream_, Z_BEST_SPEED, Z_DEFLATED,
                          coding == ContentCoding::kGzip ? kGzipWindow : MAX_WBITS, kMemoryLevel,
                          Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~Deflater() {
    if (ready_) deflateEnd(&stream_);
  }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  bool ready() const { return ready_; }
  std::size_t size() const { return size_; }

  // False when the room is used up.
  bool Add(std::span<const std::byte> data, int flush) {
    do {
      // zlib counts in 32 bits.
      const std::size_t step = std::min<std::size_t>(data.size(), kMaxStep);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(data.data()));
      stream_.avail_in = static_cast<uInt>(step);
      data = data.subspan(step);
      if (!Step(data.empty() ? flush : Z_NO_FLUSH)) return false;
    } while (!data.empty());
    return true;
  }

 private:
  static constexpr std::size_t kMaxStep = std::numeric_limits<uInt>::max();

  bool Step(int flush) {
    while (true) {
      const std::size_t left = std::min<std::size_t>(room_.size() - size_, kMaxStep);
      if (left == 0) return false;
      stream_.next_out = reinterpret_cast<Bytef*>(room_.data() + size_);
      stream_.avail_out = static_cast<uInt>(left);
      const int code = deflate(&stream_, flush);
      size_ += left - stream_.avail_out;
      if (code == Z_STREAM_END) return true;
      // Z_BUF_ERROR: there was nothing more to do.
      if (code != Z_OK && code != Z_BUF_ERROR) return false;
      if (stream_.avail_out > 0) return flush != Z_FINISH;
    }
  }

  std::span<std::byte> room_;
  std::size_t size_ = 0;
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

std::string_view ToString(ContentCoding coding) {
  switch (coding) {
    case ContentCoding::kGzip:
      return "gzip";
    case ContentCoding::kDeflate:
      return "deflate";
    case ContentCoding::kIdentity:
      return "identity";
    case ContentCoding::kUnknown:
      break;
  }
  return "unknown";
}

ContentCoding ParseContentCoding(std::string_view field) { return CodingByName(Trim(field)); }

void AcceptedCodings::Add(std::string_view field) {
  while (!field.empty()) {
    std::string_view item = TakeUntil(',', field);
    const ContentCoding coding = CodingByName(TakeUntil(';', item));
    const std::uint16_t weight = WeightOf(item);
    if (coding == ContentCoding::kGzip) gzip_ = weight;
    if (coding == ContentCoding::kDeflate) deflate_ = weight;
    if (coding == ContentCoding::kIdentity) identity_ = weight;
  }
}

ContentCoding AcceptedCodings::Best() const {
  const std::uint16_t weight = std::max(gzip_, deflate_);
  if (weight == 0 || identity_ > weight) return ContentCoding::kIdentity;
  return gzip_ == weight ? ContentCoding::kGzip : ContentCoding::kDeflate;
}

Buffer Compress(ContentCoding coding, std::span<const std::span<const std::byte>> parts) {
  std::size_t total = 0;
  for (const std::span<const std::byte>& part : parts) total += part.size();
  auto [buffer, room] = Buffer::Allocate(total - total / 8);
  Deflater deflater(coding, room);
  if (!deflater.ready()) return Buffer();
  std::size_t sample = kSampleBytes;
  for (std::span<const std::byte> part : parts) {
    if (sample > 0 && sample < part.size()) {
      if (!deflater.Add(part.first(sample), Z_SYNC_FLUSH)) return Buffer();
      if (deflater.size() > kSampleBytes - kSampleBytes / 8) return Buffer();
      part = part.subspan(std::exchange(sample, 0));
    }
    sample -= std::min(sample, part.size());
    if (!deflater.Add(part, Z_NO_FLUSH)) return Buffer();
  }
  if (!deflater.Add({}, Z_FINISH)) return Buffer();
  return buffer.Slice(0, deflater.size());
}

}  // namespace duly
