// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace duly {

// ln(x) for x > 0 and e^x, from + - * / alone, so that every CPU and compiler gives the same bits
// (libm differs). Relative error below 1e-14 over the range that distributions use.
double PortableLog(double x);
double PortableExp(double x);
// sin(2 pi turns), likewise; absolute error below 1e-14 for turns of which the fraction is exact.
double PortableSinTurns(double turns);

// A random stream: xoshiro256++ (Blackman and Vigna, 2019), seeded by splitmix64 from a run's seed
// and the stream's name, so that adding a consumer does not shift the others.
// Distributions are our own: those of the standard library differ between implementations.
// One draw per statement: the order of two draws in one expression is not defined.
// Threading: one owner at a time.
class RandomStream {
 public:
  // Names are paths such as "arrivals/detector" or "service/cpu".
  RandomStream(std::uint64_t seed, std::string_view name);

  std::uint64_t Bits();
  // Uniform in [0, 1), 53 bits.
  double Uniform();
  // Uniform integer in [0, bound); bound > 0. Unbiased (Lemire, 2019).
  std::uint64_t Below(std::uint64_t bound);
  // Exponential with the given mean.
  double Exponential(double mean);
  // Standard normal (Marsaglia's polar method; keeps no second value, so that state is the stream).
  double Normal();
  // Lognormal with the given mean and coefficient of variation of the *result*.
  double Lognormal(double mean, double cv);

 private:
  std::array<std::uint64_t, 4> state_;
};

// FNV-1a, 64 bits: stable names for streams, shapes and configurations. Not for hash tables that a
// client can fill.
std::uint64_t StableHash(std::string_view text);

}  // namespace duly
