// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace duly {

enum class DeflateFormat : std::uint8_t { kGzip, kZlib, kBare };  // RFC 1952, 1950, 1951

// zlib's decompression of one stream, piece by piece.
class Inflater {
 public:
  explicit Inflater(DeflateFormat format)
      : ready_(inflateInit2(&stream_, WindowOf(format)) == Z_OK) {}
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // False when there is no memory.
  bool ready() const { return ready_; }
  // What is wrong with the stream.
  const char* message() const {
    return stream_.msg != nullptr ? stream_.msg : "it needs a dictionary";
  }

  // Takes what it reads off `in` and what it fills off `out`, and returns what inflate() says:
  // Z_BUF_ERROR when there was nothing to read or no room.
  int Step(std::span<const std::byte>& in, std::span<std::byte>& out) {
    // zlib counts in 32 bits.
    constexpr std::size_t kMaxStep = std::numeric_limits<uInt>::max();
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
  static int WindowOf(DeflateFormat format) {
    switch (format) {
      case DeflateFormat::kGzip:
        return MAX_WBITS + 16;
      case DeflateFormat::kBare:
        return -MAX_WBITS;
      case DeflateFormat::kZlib:
        break;
    }
    return MAX_WBITS;
  }

  z_stream stream_{};
  bool ready_;
};

}  // namespace duly
