// SPDX-License-Identifier: Apache-2.0
//
// Printing floating-point numbers as JSON.
#pragma once

#include <cstddef>
#include <type_traits>

namespace duly {

// What WriteNumber may write to; its text is shorter.
template <typename Float>
constexpr std::size_t kNumberRoom = std::is_same_v<Float, float> ? 24 : 32;

// Writes the number with the fewest digits that read back as the same one, laid out as Python does:
// plain from 1e-4 to below 1e16, else with an exponent; whole numbers without a fraction. Returns
// the end of the text. The number must be finite; kNumberRoom bytes at `at` may be overwritten.
char* WriteNumber(char* at, float number);
char* WriteNumber(char* at, double number);

}  // namespace duly
