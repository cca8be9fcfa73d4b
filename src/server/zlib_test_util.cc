// SPDX-License-Identifier: Apache-2.0
#include "server/zlib_test_util.h"

#include <zlib.h>

#include <cstddef>

#include "base/check.h"

namespace duly {
namespace {

int WindowOf(ZlibFormat format) {
  switch (format) {
    case ZlibFormat::kGzip:
      return MAX_WBITS + 16;
    case ZlibFormat::kZlib:
      return MAX_WBITS;
    case ZlibFormat::kBare:
      break;
  }
  return -MAX_WBITS;
}

Bytef* ZlibBytes(std::string_view text) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
}

// Runs `step` until it has nothing more to give.
template <typename Step>
std::string Run(z_stream& stream, std::string_view input, Step step) {
  stream.next_in = ZlibBytes(input);
  stream.avail_in = static_cast<uInt>(input.size());
  std::string output;
  std::string chunk(std::size_t{1} << 16, '\0');
  do {
    stream.next_out = ZlibBytes(chunk);
    stream.avail_out = static_cast<uInt>(chunk.size());
    step();
    output.append(chunk, 0, chunk.size() - stream.avail_out);
  } while (stream.avail_out == 0);
  return output;
}

std::string Deflate(std::string_view text, ZlibFormat format, int flush) {
  z_stream stream{};
  DULY_CHECK(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WindowOf(format), 8,
                          Z_DEFAULT_STRATEGY) == Z_OK);
  std::string output = Run(stream, text, [&] { deflate(&stream, flush); });
  deflateEnd(&stream);
  return output;
}

}  // namespace

std::string Deflated(std::string_view text, ZlibFormat format) {
  return Deflate(text, format, Z_FINISH);
}

std::string Inflated(std::string_view input, ZlibFormat format) {
  z_stream stream{};
  DULY_CHECK(inflateInit2(&stream, WindowOf(format)) == Z_OK);
  int code = Z_OK;
  std::string output = Run(stream, input, [&] { code = inflate(&stream, Z_NO_FLUSH); });
  if (code != Z_STREAM_END || stream.avail_in > 0) output.clear();
  inflateEnd(&stream);
  return output;
}

std::string GzipBomb(int mebibytes) {
  const std::string zeros(std::size_t{1} << 20, '\0');
  std::string bomb = Deflate("", ZlibFormat::kGzip, Z_FULL_FLUSH);
  const std::string block = Deflate(zeros, ZlibFormat::kBare, Z_FULL_FLUSH);
  for (int i = 0; i < mebibytes; ++i) bomb += block;
  return bomb;
}

}  // namespace duly
