// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace duly {

enum class ZlibFormat : std::uint8_t { kGzip, kZlib, kBare };

// A whole stream.
std::string Deflated(std::string_view text, ZlibFormat format = ZlibFormat::kGzip);
// What a whole stream holds; "" when it is none.
std::string Inflated(std::string_view stream, ZlibFormat format = ZlibFormat::kGzip);
// A few KiB of gzip for each `mebibytes` of zeros, without an end.
std::string GzipBomb(int mebibytes);

}  // namespace duly
