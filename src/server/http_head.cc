// SPDX-License-Identifier: Apache-2.0
#include "server/http_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/version.hpp>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

namespace duly {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

std::string_view View(beast::string_view text) { return {text.data(), text.size()}; }

// Events of a parser in which Duly has no part.
class RequestParser : public http::basic_parser<true> {
 public:
  const std::optional<HttpFault>& fault() const { return fault_; }

 protected:
  void Refuse(std::uint16_t code, std::string message, beast::error_code& error) {
    fault_ = HttpFault{code, std::move(message)};
    error = http::error::bad_value;
  }

 private:
  void on_request_impl(http::verb, beast::string_view, beast::string_view, int,
                       beast::error_code&) override {}
  void on_response_impl(int, beast::string_view, int, beast::error_code&) override {}
  void on_field_impl(http::field, beast::string_view, beast::string_view,
                     beast::error_code&) override {}
#if BOOST_BEAST_VERSION >= 359
  void on_trailer_field_impl(http::field, beast::string_view, beast::string_view,
                             beast::error_code&) override {}
#endif
  void on_header_impl(beast::error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, beast::error_code&) override {}
  std::size_t on_body_impl(beast::string_view body, beast::error_code&) override {
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, beast::error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body,
                                 beast::error_code&) override {
    return body.size();
  }
  void on_finish_impl(beast::error_code&) override {}

  std::optional<HttpFault> fault_;
};

class HeadParser final : public RequestParser {
 public:
  explicit HeadParser(HttpHead& head) : head_(head) {
    header_limit(std::numeric_limits<std::uint32_t>::max());  // HeadScanner has seen to it
    body_limit(boost::none);
    eager(false);
  }

 private:
  void on_request_impl(http::verb method, beast::string_view, beast::string_view target,
                       int version, beast::error_code&) override {
    switch (method) {
      case http::verb::get:
        head_.method = HttpMethod::kGet;
        break;
      case http::verb::head:
        head_.method = HttpMethod::kHead;
        break;
      case http::verb::post:
        head_.method = HttpMethod::kPost;
        break;
      case http::verb::delete_:
        head_.method = HttpMethod::kDelete;
        break;
      default:
        head_.method = HttpMethod::kOther;
    }
    head_.target = View(target);
    head_.http_1_0 = version < 11;
  }

  void on_field_impl(http::field field, beast::string_view name, beast::string_view value,
                     beast::error_code& error) override {
    switch (field) {
      case http::field::transfer_encoding:
        if (!beast::iequals(value, "chunked")) {
          Refuse(501, fmt::format("Transfer-Encoding '{}': expected chunked", View(value)), error);
        }
        break;
      case http::field::content_encoding:
        head_.coding = head_.coding == ContentCoding::kIdentity ? ParseContentCoding(View(value))
                                                                : ContentCoding::kUnknown;
        break;
      case http::field::accept_encoding:
        head_.accepted.Add(View(value));
        break;
      case http::field::authorization:
        if (!head_.authorization.empty()) {
          return Refuse(400, "more than one Authorization: expected one", error);
        }
        head_.authorization = View(value);
        break;
      case http::field::expect:
        if (beast::iequals(value, "100-continue")) {
          head_.expects_continue = true;
        } else {
          Refuse(417, fmt::format("Expect '{}': expected 100-continue", View(value)), error);
        }
        break;
      case http::field::unknown:
        if (beast::iequals(name, "inference-header-content-length")) ReadJsonSize(value, error);
        break;
      default:
        break;
    }
  }

  void ReadJsonSize(beast::string_view value, beast::error_code& error) {
    std::uint64_t size = 0;
    const char* const end = value.data() + value.size();
    const std::from_chars_result parsed = std::from_chars(value.data(), end, size);
    if (parsed.ec != std::errc() || parsed.ptr != end || head_.json_size) {
      return Refuse(400,
                    fmt::format("Inference-Header-Content-Length '{}': expected one whole number",
                                View(value)),
                    error);
    }
    head_.json_size = size;
  }

  HttpHead& head_;
};

HttpFault Malformed(std::string_view what) {
  return {400, fmt::format("malformed HTTP: {}", what)};
}

HttpFault FaultOf(const beast::error_code& error) {
  if (error == http::error::bad_version) return {505, "expected HTTP/1.0 or HTTP/1.1"};
  return Malformed(error.message());
}

}  // namespace

std::size_t HeadScanner::Scan(std::string_view text, std::optional<HttpFault>& fault) {
  while (true) {
    const void* found = scanned_ < text.size()
                            ? std::memchr(text.data() + scanned_, '\n', text.size() - scanned_)
                            : nullptr;
    const std::size_t line_end =
        found != nullptr
            ? static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) + 1
            : text.size();
    if (line_end - line_start_ > limits_.line_bytes + 2) {
      fault = line_start_ == 0
                  ? HttpFault{414, fmt::format("the request line is longer than {} bytes",
                                               limits_.line_bytes)}
                  : HttpFault{431, fmt::format("a header field is longer than {} bytes",
                                               limits_.line_bytes)};
      return 0;
    }
    if (line_end > limits_.head_bytes) {
      fault = HttpFault{431, fmt::format("the header is larger than {} bytes", limits_.head_bytes)};
      return 0;
    }
    scanned_ = line_end;
    if (found == nullptr) return 0;
    if (line_end - line_start_ < 2 || text[line_end - 2] != '\r') {
      fault = HttpFault{400, "malformed HTTP: a line of the header ends without CR"};
      return 0;
    }
    // RFC 9112, 5.2. The parser would give the value out of a buffer of its own.
    if (line_start_ > 0 && (text[line_start_] == ' ' || text[line_start_] == '\t')) {
      fault = HttpFault{400, "malformed HTTP: a header field goes on in a second line"};
      return 0;
    }
    if (line_end - line_start_ == 2) return line_end;
    line_start_ = line_end;
  }
}

std::optional<HttpFault> ParseHead(std::string_view text, HttpHead& head) {
  HeadParser parser(head);
  beast::error_code error;
  parser.put(boost::asio::const_buffer(text.data(), text.size()), error);
  if (parser.fault()) return parser.fault();
  if (error) return FaultOf(error);
  if (!parser.is_header_done()) return HttpFault{400, "malformed HTTP: incomplete header"};
  head.keep_alive = parser.keep_alive();
  head.chunked = parser.chunked();
  head.content_length = parser.content_length().value_or(0);
  return std::nullopt;
}

std::optional<HttpFault> ChunkDecoder::TakeSizeLine(char c, const HttpBody& body) {
  constexpr int kMostDigits = 16;  // of 64 bits
  if (state_ == State::kSize) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit >= 0) {
      if (++digits_ > kMostDigits) return Malformed("the size of a chunk has too many digits");
      left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
      return std::nullopt;
    }
    if (digits_ == 0 || (c != '\r' && c != ';' && c != ' ' && c != '\t')) {
      return Malformed("a chunk without a hexadecimal size");
    }
    state_ = State::kExtension;
  }
  if (state_ == State::kExtension) {
    if (c == '\r') {
      state_ = State::kSizeEnd;
      return std::nullopt;
    }
    if (++extension_ > limits_.line_bytes || ++ignored_ > limits_.head_bytes) {
      return Malformed("the extensions of chunks are too long");
    }
    if (c == '\n') return Malformed("the size of a chunk ends without CR");
    return std::nullopt;
  }
  if (c != '\n') return Malformed("the size of a chunk ends without LF");
  if (left_ > limits_.body_bytes - std::min(body.size(), limits_.body_bytes)) {
    return HttpFault{413, "the body is larger than the server accepts"};
  }
  state_ = left_ > 0 ? State::kData : State::kTrailer;
  digits_ = 0;
  extension_ = 0;
  return std::nullopt;
}

std::optional<HttpFault> ChunkDecoder::TakeTrailer(char c) {
  if (++ignored_ > limits_.head_bytes) {
    return HttpFault{431, fmt::format("the trailer is larger than {} bytes", limits_.head_bytes)};
  }
  const bool ends_line = state_ == State::kFieldEnd || state_ == State::kEnd;
  if (ends_line != (c == '\n')) return Malformed("a line of the trailer ends without CR LF");
  if (ends_line) {
    state_ = state_ == State::kEnd ? State::kDone : State::kTrailer;
  } else if (c == '\r') {
    state_ = state_ == State::kTrailer ? State::kEnd : State::kFieldEnd;
  } else {
    state_ = State::kField;
  }
  return std::nullopt;
}

std::size_t ChunkDecoder::Decode(std::string_view data, HttpBody& body,
                                 std::optional<HttpFault>& fault) {
  std::size_t at = 0;
  while (at < data.size() && !done() && !fault) {
    switch (state_) {
      case State::kSize:
      case State::kExtension:
      case State::kSizeEnd:
        fault = TakeSizeLine(data[at++], body);
        break;
      case State::kData: {
        const std::string_view part =
            data.substr(at, static_cast<std::size_t>(std::min<std::uint64_t>(left_, data.size())));
        if (!body.Append(std::as_bytes(std::span(part.data(), part.size())))) {
          fault = HttpFault{503, "the server has no memory left for the body"};
        }
        at += part.size();
        left_ -= part.size();
        if (left_ == 0) state_ = State::kDataEnd;
        break;
      }
      case State::kDataEnd:
      case State::kDataLineEnd: {
        const bool is_cr = state_ == State::kDataEnd;
        if (data[at++] != (is_cr ? '\r' : '\n'))
          fault = Malformed("a chunk is not followed by CR LF");
        state_ = is_cr ? State::kDataLineEnd : State::kSize;
        break;
      }
      default:
        fault = TakeTrailer(data[at++]);
    }
  }
  return at;
}

std::optional<std::string> DecodePercent(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned byte = 0;
    const char* const begin = text.data() + i + 1;
    if (text.size() - i < 3 || std::from_chars(begin, begin + 2, byte, 16).ptr != begin + 2) {
      return std::nullopt;
    }
    decoded += static_cast<char>(byte);
    i += 2;
  }
  return decoded;
}

}  // namespace duly
