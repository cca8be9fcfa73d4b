// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace duly {

// Reads one response of HTTP/1.0 or 1.1 after another into a buffer of its own: Content-Length,
// chunked, or until the peer closes (RFC 9112, section 6.3). Strict: what is malformed or ambiguous
// is refused, because a measurement must not guess.
//
//   while (state == kMore) { n = recv(reader.Space()); state = reader.Add(n); }
class HttpResponseReader {
 public:
  enum class State : std::uint8_t { kMore, kDone, kBad };
  static constexpr std::size_t kMaxHeadBytes = std::size_t{64} << 10;
  static constexpr std::size_t kMaxBodyBytes = std::size_t{1} << 30;
  // Readable bytes behind body(), as simdjson asks for.
  static constexpr std::size_t kPadding = 64;

  // Where the next bytes go; never empty. Never more than the response's length, once it is known.
  std::span<char> Space();
  // `size` > 0 bytes were put at the beginning of Space().
  State Add(std::size_t size);
  // The peer closed the connection.
  State End();
  // Ready for the next response.
  void Reset();

  // Whether anything of a response was read.
  bool started() const { return size_ > 0; }
  // Of a kBad response: a word or two.
  std::string_view error() const { return error_; }

  // Of a kDone response; views are valid until Reset.
  int status() const { return status_; }
  bool keep_alive() const { return keep_alive_; }
  // Inference-Header-Content-Length: the bytes of JSON at the beginning of the body.
  std::optional<std::size_t> json_size() const { return json_size_; }
  std::string_view body() const { return {buffer_.get() + body_begin_, body_end_ - body_begin_}; }

 private:
  enum class Framing : std::uint8_t { kHead, kLength, kChunked, kUntilClose };

  State Bad(std::string_view error);
  State ParseHead();
  bool ParseHeader(std::string_view name, std::string_view value);
  State ParseChunks();
  void Grow(std::size_t capacity);

  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0;  // without the padding
  std::size_t size_ = 0;      // bytes read
  Framing framing_ = Framing::kHead;
  std::size_t scanned_ = 0;  // kHead: searched for the end; kChunked: parsed
  std::size_t body_begin_ = 0;
  std::size_t body_end_ = 0;    // of what is decoded
  std::size_t chunk_left_ = 0;  // kChunked: bytes of the chunk's data still to come
  enum class Chunk : std::uint8_t { kSize, kData, kDataEnd, kTrailer };
  Chunk chunk_ = Chunk::kSize;

  std::string_view error_;
  int status_ = 0;
  bool keep_alive_ = false;
  bool chunked_ = false;
  std::optional<std::size_t> length_;
  std::optional<std::size_t> json_size_;
};

}  // namespace duly
