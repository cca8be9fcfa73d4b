// SPDX-License-Identifier: Apache-2.0
#include "server/json_number.h"

#include <dragonbox/dragonbox.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace duly {
namespace {

// Exponents of ten of the numbers that are written without one.
constexpr int kFirstPlain = -4;
constexpr int kLastPlain = 15;

constexpr std::array<char, 200> kPairs = [] {
  std::array<char, 200> pairs{};
  for (std::size_t i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

template <typename Significand>
constexpr auto kPowersOfTen = [] {
  std::array<Significand, std::numeric_limits<Significand>::digits10 + 1> powers{};
  Significand power = 1;
  for (std::size_t i = 0; i < powers.size(); ++i, power *= 10) powers[i] = power;
  return powers;
}();

// Branches on the number of digits would be mispredicted for about every other number.
template <typename Significand>
int CountDigits(Significand value) {
  const auto bits = static_cast<int>(std::bit_width(value));
  const int guess = bits * 1233 >> 12;  // 1233 / 4096: a little above log10(2)
  return guess + (value >= kPowersOfTen<Significand>[static_cast<std::size_t>(guess)] ? 1 : 0);
}

// kCount digits, an odd number, with leading zeros.
template <std::size_t kCount, typename Significand>
void WriteDigits(char* at, Significand value) {
  for (std::size_t i = kCount; i > 1; i -= 2) {
    std::memcpy(at + i - 2, kPairs.data() + 2 * static_cast<std::size_t>(value % 100), 2);
    value /= 100;
  }
  *at = static_cast<char>('0' + value);
}

template <typename Float>
char* Write(char* at, Float number) {
  if (std::signbit(number)) *at++ = '-';
  if (number == 0) {
    *at = '0';
    return at + 1;
  }
  const auto decimal = jkj::dragonbox::to_decimal(number, jkj::dragonbox::policy::sign::ignore);
  using Significand = decltype(decimal.significand);
  constexpr int kMost = std::numeric_limits<Float>::max_digits10;
  const int digits = CountDigits(decimal.significand);
  const auto count = static_cast<std::size_t>(digits);
  const int exponent = decimal.exponent + digits - 1;
  // All digits that there can be, the superfluous ones zeros.
  const Significand padded =
      decimal.significand * kPowersOfTen<Significand>[static_cast<std::size_t>(kMost - digits)];

  if (exponent < 0 && exponent >= kFirstPlain) {
    std::memcpy(at, "0.000", 5);
    at += 1 - exponent;
    WriteDigits<kMost>(at, padded);
    return at + count;
  }
  WriteDigits<kMost>(at + 1, padded);
  if (exponent >= 0 && exponent <= kLastPlain) {
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    std::memmove(at, at + 1, std::min(whole, count));
    if (whole >= count) {
      std::memset(at + count, '0', whole - count);
      return at + whole;
    }
    at[whole] = '.';
    return at + count + 1;
  }
  at[0] = at[1];
  at[1] = '.';
  at += count > 1 ? count + 1 : 1;
  *at++ = 'e';
  *at++ = exponent < 0 ? '-' : '+';
  const int size = std::abs(exponent);
  if (size < 10) *at++ = '0';
  return std::to_chars(at, at + 3, size).ptr;
}

}  // namespace

char* WriteNumber(char* at, float number) { return Write(at, number); }
char* WriteNumber(char* at, double number) { return Write(at, number); }

}  // namespace duly
