// SPDX-License-Identifier: Apache-2.0
#include "server/content_coding.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "server/zlib_test_util.h"

namespace duly {
namespace {

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string TextOf(const Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data().data()), buffer.size()};
}

TEST(ContentCoding, IsNamedInAnyCase) {
  EXPECT_EQ(ParseContentCoding("GZip"), ContentCoding::kGzip);
  EXPECT_EQ(ParseContentCoding(" x-gzip "), ContentCoding::kGzip);
  EXPECT_EQ(ParseContentCoding("deflate"), ContentCoding::kDeflate);
  EXPECT_EQ(ParseContentCoding("identity"), ContentCoding::kIdentity);
  for (const char* other : {"br", "zstd", "", "gzip, deflate", "gzi"}) {
    EXPECT_EQ(ParseContentCoding(other), ContentCoding::kUnknown) << other;
  }
}

TEST(AcceptedCodings, TheHeaviestNamedCodingIsBest) {
  const auto best = [](std::string_view field) {
    AcceptedCodings accepted;
    accepted.Add(field);
    return ToString(accepted.Best());
  };
  EXPECT_EQ(best("gzip"), "gzip");
  EXPECT_EQ(best("deflate"), "deflate");
  EXPECT_EQ(best("deflate, gzip, br"), "gzip");
  EXPECT_EQ(best("gzip;q=0.5, deflate;q=0.501"), "deflate");
  EXPECT_EQ(best("GZIP ; Q=0.001"), "gzip");
  EXPECT_EQ(best("gzip;q=1.0,identity"), "gzip");
  EXPECT_EQ(best("gzip;q=0.5, identity"), "identity");
  EXPECT_EQ(best("gzip;q=0.5, identity;q=0"), "gzip");
  EXPECT_EQ(best("gzip;q=0"), "identity");
  EXPECT_EQ(best("gzip;q=0, deflate"), "deflate");
  EXPECT_EQ(best("*"), "identity");
  EXPECT_EQ(best("br, zstd"), "identity");
  EXPECT_EQ(best(""), "identity");
  for (const char* bad : {"gzip;q=2", "gzip;q=-1", "gzip;q=nan", "gzip;q=", "gzip;level=1",
                          ",;=,;q=1,", "gzip deflate"}) {
    EXPECT_EQ(best(bad), "identity") << bad;
  }
}

TEST(AcceptedCodings, SeveralFieldsAreOneList) {
  AcceptedCodings accepted;
  EXPECT_EQ(accepted.Best(), ContentCoding::kIdentity);
  accepted.Add("br");
  accepted.Add("deflate;q=0.3");
  accepted.Add("gzip;q=0.2");
  EXPECT_EQ(accepted.Best(), ContentCoding::kDeflate);
}

TEST(Compress, GivesOneStreamOfAllParts) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += std::to_string(i) + ",";
  // Parts that end before, within and behind the sample.
  for (const std::size_t cut :
       {std::size_t{0}, std::size_t{10}, std::size_t{32} << 10, std::size_t{100000}, text.size()}) {
    const std::string first = text.substr(0, cut);
    const std::string second = text.substr(cut);
    const std::vector<std::span<const std::byte>> parts = {BytesOf(first), BytesOf(second)};
    const Buffer gzip = Compress(ContentCoding::kGzip, parts);
    EXPECT_LT(gzip.size(), text.size() / 2);
    EXPECT_EQ(Inflated(TextOf(gzip), ZlibFormat::kGzip), text) << cut;
    const Buffer deflate = Compress(ContentCoding::kDeflate, parts);
    EXPECT_EQ(Inflated(TextOf(deflate), ZlibFormat::kZlib), text) << cut;
  }
}

TEST(Compress, GivesUpWhatDoesNotShrink) {
  RandomStream random(1, "bytes");
  std::string noise(std::size_t{1} << 20, '\0');
  for (char& byte : noise) byte = static_cast<char>(random.Bits());
  const std::vector<std::span<const std::byte>> parts = {BytesOf(noise)};
  EXPECT_EQ(Compress(ContentCoding::kGzip, parts).size(), 0U);
  // Noise behind a beginning that does shrink.
  const std::string text(std::size_t{40} << 10, 'x');
  const std::vector<std::span<const std::byte>> late = {BytesOf(text), BytesOf(noise)};
  EXPECT_EQ(Compress(ContentCoding::kGzip, late).size(), 0U);
  const std::string tiny = "ab";
  const std::vector<std::span<const std::byte>> small = {BytesOf(tiny)};
  EXPECT_EQ(Compress(ContentCoding::kDeflate, small).size(), 0U);
}

}  // namespace
}  // namespace duly
