// SPDX-License-Identifier: Apache-2.0
#include "server/json_number.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "base/random.h"

namespace duly {
namespace {

template <typename Float>
std::string Text(Float number) {
  // Nothing behind the room may be touched.
  std::array<char, kNumberRoom<Float> + 8> text;
  text.fill('#');
  const auto size = static_cast<std::size_t>(WriteNumber(text.data(), number) - text.data());
  for (std::size_t i = kNumberRoom<Float>; i < text.size(); ++i) EXPECT_EQ(text[i], '#') << number;
  return {text.data(), size};
}

// The digits without sign, point, exponent and the zeros at either end.
std::string Digits(std::string text) {
  text = text.substr(0, text.find('e'));
  std::erase_if(text, [](char c) { return c == '-' || c == '.'; });
  text.erase(0, text.find_first_not_of('0'));
  text.erase(text.find_last_not_of('0') + 1);
  return text;
}

template <typename Float>
void ExpectShortestAndExact(Float number) {
  const std::string text = Text(number);
  Float back = 0;
  const char* const end = text.data() + text.size();
  ASSERT_EQ(std::from_chars(text.data(), end, back).ptr, end) << text;
  using Bits = std::conditional_t<sizeof(Float) == 4, std::uint32_t, std::uint64_t>;
  EXPECT_EQ(std::bit_cast<Bits>(back), std::bit_cast<Bits>(number)) << text;
  EXPECT_TRUE(nlohmann::json::accept(text)) << text;
  std::array<char, 64> other;
  const auto printed = std::to_chars(other.data(), other.data() + other.size(), number,
                                     std::chars_format::scientific);
  EXPECT_EQ(Digits(text), Digits(std::string(other.data(), printed.ptr))) << text;
}

TEST(WriteNumber, LaysOutAsPythonDoes) {
  EXPECT_EQ(Text(0.0F), "0");
  EXPECT_EQ(Text(-0.0F), "-0");
  EXPECT_EQ(Text(1.0F), "1");
  EXPECT_EQ(Text(-120.0F), "-120");
  EXPECT_EQ(Text(0.1F), "0.1");
  EXPECT_EQ(Text(-12.25F), "-12.25");
  EXPECT_EQ(Text(16777216.0F), "16777216");
  EXPECT_EQ(Text(0.0001F), "0.0001");
  EXPECT_EQ(Text(0.00001F), "1e-05");
  EXPECT_EQ(Text(-0.000012345F), "-1.2345e-05");
  EXPECT_EQ(Text(1e15F), "1000000000000000");
  EXPECT_EQ(Text(1e16F), "1e+16");
  EXPECT_EQ(Text(std::numeric_limits<float>::max()), "3.4028235e+38");
  EXPECT_EQ(Text(std::numeric_limits<float>::denorm_min()), "1e-45");
  EXPECT_EQ(Text(123456789012345.6), "123456789012345.6");
  EXPECT_EQ(Text(1234567890123456.7), "1234567890123456.8");
  EXPECT_EQ(Text(-0.00012345678901234567), "-0.00012345678901234567");
  EXPECT_EQ(Text(-2.2250738585072014e-308), "-2.2250738585072014e-308");
  EXPECT_EQ(Text(5e-324), "5e-324");
}

TEST(WriteNumber, RandomNumbersOfAllSizesReadBack) {
  RandomStream random(1, "test/numbers");
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t bits = random.Bits();
    const auto small = std::bit_cast<float>(static_cast<std::uint32_t>(bits >> 32));
    if (std::isfinite(small)) ExpectShortestAndExact(small);
    const auto large = std::bit_cast<double>(bits);
    if (std::isfinite(large)) ExpectShortestAndExact(large);
    // What models answer.
    ExpectShortestAndExact(static_cast<float>(random.Uniform()));
    ExpectShortestAndExact(200 * random.Uniform() - 100);
  }
}

template <typename Float>
void CheckPowers() {
  for (int power = -330; power <= 310; ++power) {
    const auto number = static_cast<Float>(std::pow(10.0, power));
    for (const Float near :
         {number, std::nextafter(number, Float{0}), std::nextafter(number, Float{1e9F})}) {
      if (std::isfinite(near)) ExpectShortestAndExact(near);
    }
  }
}

TEST(WriteNumber, NumbersNextToPowersOfTenReadBack) {
  CheckPowers<float>();
  CheckPowers<double>();
}

}  // namespace
}  // namespace duly
