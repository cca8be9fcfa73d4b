// SPDX-License-Identifier: Apache-2.0
//
// Writing JSON without a document tree.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

namespace duly {

// `text` in quotes with what JSON demands escaped. Bytes that are not UTF-8, which only a client's
// own words can hold, become U+FFFD.
void AppendJsonString(std::string& out, std::string_view text);

// The shortest text that reads back as the same number. Floating-point numbers must be finite.
template <typename Number>
void AppendNumber(std::string& out, Number number) {
  char digits[32];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), number);
  out.append(digits, end.ptr);
}

// {"error": message}
std::string ErrorJson(std::string_view message);

}  // namespace duly
