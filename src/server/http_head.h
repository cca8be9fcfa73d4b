// SPDX-License-Identifier: Apache-2.0
//
// Heads of HTTP/1.1 requests and the framing of their bodies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "server/content_coding.h"
#include "server/http_body.h"

namespace duly {

struct HttpLimits {
  std::size_t line_bytes = std::size_t{8} << 10;   // request line and each header field
  std::size_t head_bytes = std::size_t{64} << 10;  // all of them
  std::size_t body_bytes = std::size_t{64} << 20;
};

// Why a request cannot be served, as an HTTP code and a message for a person.
struct HttpFault {
  std::uint16_t code = 400;
  std::string message;
  std::int64_t retry_after_s = 1;  // 429 and 503
};

enum class HttpMethod : std::uint8_t { kGet, kHead, kPost, kDelete, kOther };

struct HttpHead {
  HttpMethod method = HttpMethod::kOther;
  std::string_view target;  // into the text
  bool http_1_0 = false;
  bool keep_alive = true;
  bool chunked = false;
  bool expects_continue = false;
  ContentCoding coding = ContentCoding::kIdentity;  // of the body
  AcceptedCodings accepted;                         // of the answer
  std::uint64_t content_length = 0;                 // 0 when there is none
  std::string_view authorization;                   // into the text; empty when there is none
  std::optional<std::uint64_t> json_size;           // Inference-Header-Content-Length: decompressed
};

// Finds the end of a head while its bytes arrive.
class HeadScanner {
 public:
  explicit HeadScanner(const HttpLimits& limits) : limits_(limits) {}

  // text: all bytes of the head so far; earlier ones are not looked at again. Returns the head's
  // size with its empty line, or 0 while it is incomplete. A line or a head over its limit and a
  // line that ends without CR are faults.
  std::size_t Scan(std::string_view text, std::optional<HttpFault>& fault);
  void Reset() { line_start_ = scanned_ = 0; }

 private:
  const HttpLimits& limits_;
  std::size_t line_start_ = 0;
  std::size_t scanned_ = 0;
};

// text: a complete head. Contradictory or unknown framing is a fault: nobody may guess where the
// next request starts.
std::optional<HttpFault> ParseHead(std::string_view text, HttpHead& head);

// Decodes the chunks of one body (RFC 9112, 7.1). All lines end with CR LF; extensions and trailer
// fields are left out, and bounded together like a head.
class ChunkDecoder {
 public:
  explicit ChunkDecoder(const HttpLimits& limits) : limits_(limits) {}

  // Appends what `data` holds of the body; returns how much of data was consumed: all of it, unless
  // the body ends before or there is a fault.
  std::size_t Decode(std::string_view data, HttpBody& body, std::optional<HttpFault>& fault);
  // The last chunk and the trailer have been read.
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State : std::uint8_t {
    kSize,       // within the digits of a chunk's size
    kExtension,  // behind them
    kSizeEnd,    // before the LF of that line
    kData,
    kDataEnd,      // before the CR behind the data
    kDataLineEnd,  // before its LF
    kTrailer,      // at the beginning of a line
    kField,        // within one
    kFieldEnd,     // before its LF
    kEnd,          // before the last LF
    kDone,
  };

  std::optional<HttpFault> TakeSizeLine(char c, const HttpBody& body);
  std::optional<HttpFault> TakeTrailer(char c);

  const HttpLimits& limits_;
  State state_ = State::kSize;
  std::uint64_t left_ = 0;     // of the chunk
  int digits_ = 0;             // of its size
  std::size_t extension_ = 0;  // bytes of the line's
  std::size_t ignored_ = 0;    // bytes of extensions and trailer
};

// The bytes that %XX stand for, or nothing when a % is not followed by two hexadecimal digits.
std::optional<std::string> DecodePercent(std::string_view text);

}  // namespace duly
