// SPDX-License-Identifier: Apache-2.0
#include "telemetry/crc32c.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "base/random.h"

namespace duly {
namespace {

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// RFC 3720, appendix B.4, and the check value of the catalogue of CRC algorithms.
TEST(Crc32c, GivesThePublishedValues) {
  std::vector<std::byte> bytes(32);
  for (auto* crc : {&Crc32c, &Crc32cByTables}) {
    EXPECT_EQ(crc(Bytes("123456789"), 0), 0xE3069283U);
    EXPECT_EQ(crc(std::vector<std::byte>(32), 0), 0x8A9136AAU);
    EXPECT_EQ(crc(std::vector<std::byte>(32, std::byte{0xFF}), 0), 0x62A8AB43U);
    for (std::size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(i);
    EXPECT_EQ(crc(bytes, 0), 0x46DD794EU);
    EXPECT_EQ(crc({}, 0), 0U);
  }
}

TEST(Crc32c, BothFormsAgreeForEveryLengthAndSplit) {
  RandomStream random(1, "crc");
  std::vector<std::byte> bytes(257);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Below(256));
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const std::span<const std::byte> all(bytes.data(), size);
    const std::uint32_t whole = Crc32c(all);
    EXPECT_EQ(Crc32cByTables(all), whole);
    const std::size_t split = random.Below(size + 1);
    EXPECT_EQ(Crc32c(all.subspan(split), Crc32c(all.first(split))), whole);
  }
}

}  // namespace
}  // namespace duly
