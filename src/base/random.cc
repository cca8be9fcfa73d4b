// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/mix_hash.h"

namespace duly {
namespace {

constexpr double kLn2 = 0.693147180559945309417232121458;
constexpr double kLog2E = 1.442695040888963407359924681002;

std::uint64_t SplitMix64(std::uint64_t& state) {
  const std::uint64_t word = MixHash(state, 0);
  state += 0x9E3779B97F4A7C15ULL;
  return word;
}

}  // namespace

double PortableLog(double x) {
  DULY_CHECK(x > 0);
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh((m-1)/(m+1)), a series in z^2 <
  // 0.0295.
  int exponent = 0;
  double m = std::frexp(x, &exponent);
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double z = (m - 1) / (m + 1);
  const double z2 = z * z;
  double sum = 0;
  for (int k = 21; k >= 1; k -= 2) sum = sum * z2 + 1.0 / k;
  return 2 * z * sum + exponent * kLn2;
}

double PortableExp(double x) {
  if (x > 709.0) x = 709.0;
  if (x < -708.0) return 0;
  // x = k ln 2 + r with |r| <= ln 2 / 2; Taylor to the 16th power is below one unit in the last
  // place.
  const double k = std::floor(x * kLog2E + 0.5);
  const double r = x - k * kLn2;
  double sum = 1;
  for (int n = 16; n >= 1; --n) sum = 1 + sum * r / n;
  return std::ldexp(sum, static_cast<int>(k));
}

double PortableSinTurns(double turns) {
  // To a quarter on either side of 0, where sin(pi - x) = sin x folds the rest; there Taylor to the
  // 21st power is below one unit in the last place.
  double turn = turns - std::floor(turns + 0.5);
  if (turn > 0.25) turn = 0.5 - turn;
  if (turn < -0.25) turn = -0.5 - turn;
  const double x = 2 * std::numbers::pi * turn;
  double sum = 1;
  for (int n = 20; n >= 2; n -= 2) sum = 1 - sum * x * x / (n * (n + 1));
  return x * sum;
}

RandomStream::RandomStream(std::uint64_t seed, std::string_view name) {
  std::uint64_t mix = seed ^ StableHash(name);
  for (std::uint64_t& word : state_) word = SplitMix64(mix);
}

std::uint64_t RandomStream::Bits() {
  const std::uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double RandomStream::Uniform() { return static_cast<double>(Bits() >> 11) * 0x1.0p-53; }

std::uint64_t RandomStream::Below(std::uint64_t bound) {
  DULY_CHECK(bound > 0);
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(Bits()) * bound;
  if (static_cast<std::uint64_t>(product) < bound) {
    const std::uint64_t threshold = (0 - bound) % bound;
    while (static_cast<std::uint64_t>(product) < threshold) {
      product = static_cast<Wide>(Bits()) * bound;
    }
  }
  return static_cast<std::uint64_t>(product >> 64);
}

double RandomStream::Exponential(double mean) {
  const double u = Uniform();
  return -mean * PortableLog(1 - u);
}

double RandomStream::Normal() {
  for (;;) {
    const double a = Uniform();
    const double b = Uniform();
    const double u = 2 * a - 1;
    const double v = 2 * b - 1;
    const double s = u * u + v * v;
    if (s > 0 && s < 1) return u * std::sqrt(-2 * PortableLog(s) / s);
  }
}

double RandomStream::Lognormal(double mean, double cv) {
  const double sigma2 = PortableLog(1 + cv * cv);
  const double normal = Normal();
  return mean * PortableExp(std::sqrt(sigma2) * normal - sigma2 / 2);
}

std::uint64_t StableHash(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

}  // namespace duly
