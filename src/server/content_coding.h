// SPDX-License-Identifier: Apache-2.0
//
// Content codings of HTTP bodies: gzip (RFC 1952), and deflate, which is zlib's format (RFC 1950).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "model/tensor.h"

namespace duly {

enum class ContentCoding : std::uint8_t { kIdentity, kGzip, kDeflate, kUnknown };

// "gzip", "deflate".
std::string_view ToString(ContentCoding coding);

// Of a Content-Encoding field; several codings on top of each other are kUnknown.
ContentCoding ParseContentCoding(std::string_view field);

// What the Accept-Encoding fields of a request say together.
class AcceptedCodings {
 public:
  void Add(std::string_view field);
  // With what to compress the answer: the coding of the highest weight, gzip before deflate.
  // kIdentity when none is named with a weight above 0, or identity with a higher one: "*" asks for
  // nothing.
  ContentCoding Best() const;

 private:
  // Weights in thousandths.
  std::uint16_t gzip_ = 0;
  std::uint16_t deflate_ = 0;
  std::uint16_t identity_ = 0;
};

// The parts one behind the other, compressed with kGzip or kDeflate. Nothing (an empty buffer) when
// that does not make them smaller by an eighth, which a sample at their beginning shows.
Buffer Compress(ContentCoding coding, std::span<const std::span<const std::byte>> parts);

}  // namespace duly
