// SPDX-License-Identifier: Apache-2.0
#include "cli/http_response.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <string>

namespace duly {
namespace {

constexpr std::size_t kFirstCapacity = std::size_t{16} << 10;
// Larger buffers are given back: a thousand connections may each have had one large answer.
constexpr std::size_t kKeptCapacity = std::size_t{256} << 10;
constexpr std::size_t kMaxChunkLine = 256;

bool IsTokenChar(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<std::size_t> ParseDigits(std::string_view text, int base) {
  std::size_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// Whether `list`, separated by commas, has the word.
bool HasWord(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (EqualIgnoringCase(Trim(list.substr(0, comma)), word)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

std::span<char> HttpResponseReader::Space() {
  if (framing_ == Framing::kLength) {
    Grow(body_begin_ + *length_);
    return {buffer_.get() + size_, body_begin_ + *length_ - size_};
  }
  if (capacity_ - size_ < kFirstCapacity / 4) Grow(std::max(kFirstCapacity, 2 * capacity_));
  return {buffer_.get() + size_, capacity_ - size_};
}

void HttpResponseReader::Grow(std::size_t capacity) {
  if (capacity <= capacity_) return;
  std::unique_ptr<char[]> larger(new char[capacity + kPadding]);
  if (size_ > 0) std::memcpy(larger.get(), buffer_.get(), size_);
  buffer_ = std::move(larger);
  capacity_ = capacity;
}

HttpResponseReader::State HttpResponseReader::Add(std::size_t size) {
  size_ += size;
  if (framing_ == Framing::kHead) {
    const State state = ParseHead();
    if (state != State::kDone) return state;
  }
  switch (framing_) {
    case Framing::kLength:
      body_end_ = size_;
      if (size_ - body_begin_ < *length_) return State::kMore;
      // Only what came along with the head can be too much.
      return size_ - body_begin_ == *length_ ? State::kDone : Bad("bytes behind the response");
    case Framing::kChunked:
      return ParseChunks();
    case Framing::kUntilClose:
    case Framing::kHead:
      break;
  }
  body_end_ = size_;
  return size_ - body_begin_ > kMaxBodyBytes ? Bad("body too large") : State::kMore;
}

HttpResponseReader::State HttpResponseReader::End() {
  if (framing_ == Framing::kUntilClose) return State::kDone;
  return Bad(started() ? "response cut off" : "connection closed without a response");
}

void HttpResponseReader::Reset() {
  if (capacity_ > kKeptCapacity) {
    buffer_.reset();
    capacity_ = 0;
  }
  size_ = 0;
  framing_ = Framing::kHead;
  scanned_ = 0;
  body_begin_ = 0;
  body_end_ = 0;
  chunk_ = Chunk::kSize;
  error_ = {};
  status_ = 0;
}

HttpResponseReader::State HttpResponseReader::Bad(std::string_view error) {
  error_ = error;
  keep_alive_ = false;
  return State::kBad;
}

// kDone: the head is complete and the framing known.
HttpResponseReader::State HttpResponseReader::ParseHead() {
  for (;;) {
    const std::string_view text(buffer_.get() + body_begin_, size_ - body_begin_);
    const std::size_t from = scanned_ < 3 ? 0 : scanned_ - 3;
    const std::size_t end = text.find("\r\n\r\n", from);
    if (end == std::string_view::npos) {
      scanned_ = text.size();
      return text.size() > kMaxHeadBytes ? Bad("head too large") : State::kMore;
    }
    if (end > kMaxHeadBytes) return Bad("head too large");
    std::string_view lines = text.substr(0, end + 2);
    const auto take_line = [&lines] {
      const std::size_t line_end = lines.find("\r\n");
      const std::string_view line = lines.substr(0, line_end);
      lines.remove_prefix(line_end + 2);
      return line;
    };

    const std::string_view line = take_line();
    const bool http11 = line.starts_with("HTTP/1.1 ");
    if ((!http11 && !line.starts_with("HTTP/1.0 ")) || line.size() < 12) {
      return Bad("not an HTTP response");
    }
    const std::optional<std::size_t> status = ParseDigits(line.substr(9, 3), 10);
    if (!status || *status < 100 || *status > 599 || (line.size() > 12 && line[12] != ' ')) {
      return Bad("bad status line");
    }
    status_ = static_cast<int>(*status);
    keep_alive_ = http11;
    chunked_ = false;
    length_.reset();
    json_size_.reset();
    while (!lines.empty()) {
      const std::string_view header = take_line();
      const std::size_t colon = header.find(':');
      if (colon == 0 || colon == std::string_view::npos) return Bad("bad header");
      const std::string_view name = header.substr(0, colon);
      if (!std::all_of(name.begin(), name.end(), IsTokenChar)) return Bad("bad header");
      if (!ParseHeader(name, Trim(header.substr(colon + 1)))) return Bad("bad header");
    }
    body_begin_ += end + 4;
    body_end_ = body_begin_;
    scanned_ = 0;
    // An interim response announces another.
    if (status_ >= 200) break;
    if (status_ == 101) return Bad("protocol switched");
    if (body_begin_ > kMaxHeadBytes) return Bad("head too large");
  }

  if (chunked_ && length_) return Bad("both a length and chunks");
  if (status_ == 204 || status_ == 304) {
    chunked_ = false;
    length_ = 0;
  }
  if (chunked_) {
    framing_ = Framing::kChunked;
    scanned_ = body_begin_;
  } else if (length_) {
    if (*length_ > kMaxBodyBytes) return Bad("body too large");
    framing_ = Framing::kLength;
  } else {
    framing_ = Framing::kUntilClose;
    keep_alive_ = false;
  }
  return State::kDone;
}

bool HttpResponseReader::ParseHeader(std::string_view name, std::string_view value) {
  if (EqualIgnoringCase(name, "content-length")) {
    const std::optional<std::size_t> length = ParseDigits(value, 10);
    if (!length || (length_ && *length_ != *length)) return false;
    length_ = length;
  } else if (EqualIgnoringCase(name, "transfer-encoding")) {
    if (chunked_ || !EqualIgnoringCase(value, "chunked")) return false;
    chunked_ = true;
  } else if (EqualIgnoringCase(name, "connection")) {
    if (HasWord(value, "close")) {
      keep_alive_ = false;
    } else if (HasWord(value, "keep-alive")) {
      keep_alive_ = true;
    }
  } else if (EqualIgnoringCase(name, "inference-header-content-length")) {
    json_size_ = ParseDigits(value, 10);
    if (!json_size_) return false;
  }
  return true;
}

// Moves the data of the chunks together, over their size lines.
HttpResponseReader::State HttpResponseReader::ParseChunks() {
  for (;;) {
    if (chunk_ == Chunk::kData) {
      const std::size_t take = std::min(chunk_left_, size_ - scanned_);
      std::memmove(buffer_.get() + body_end_, buffer_.get() + scanned_, take);
      body_end_ += take;
      scanned_ += take;
      chunk_left_ -= take;
      if (chunk_left_ > 0) break;
      chunk_ = Chunk::kDataEnd;
    }
    const std::string_view text(buffer_.get() + scanned_, size_ - scanned_);
    const std::size_t end = text.find("\r\n");
    if (end == std::string_view::npos) {
      if (text.size() > kMaxChunkLine) return Bad("bad chunk");
      break;
    }
    scanned_ += end + 2;
    if (chunk_ == Chunk::kDataEnd) {
      if (end != 0) return Bad("bad chunk");
      chunk_ = Chunk::kSize;
    } else if (chunk_ == Chunk::kTrailer) {
      if (end != 0) continue;
      return scanned_ == size_ ? State::kDone : Bad("bytes behind the response");
    } else {
      const std::string_view line = text.substr(0, std::min(end, text.find(';')));
      const std::optional<std::size_t> size = ParseDigits(Trim(line), 16);
      if (!size) return Bad("bad chunk");
      if (*size > kMaxBodyBytes - (body_end_ - body_begin_)) return Bad("body too large");
      chunk_left_ = *size;
      chunk_ = *size == 0 ? Chunk::kTrailer : Chunk::kData;
    }
  }
  // What is parsed makes room for what comes.
  if (scanned_ > body_end_) {
    std::memmove(buffer_.get() + body_end_, buffer_.get() + scanned_, size_ - scanned_);
    size_ -= scanned_ - body_end_;
    scanned_ = body_end_;
  }
  return State::kMore;
}

}  // namespace duly
