// SPDX-License-Identifier: Apache-2.0
//
// Writing JSON without a document tree.
#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <type_traits>

#include "server/json_number.h"

namespace duly {

// `text` in quotes with what JSON demands escaped. Bytes that are not UTF-8, which only a client's
// own words can hold, become U+FFFD.
void AppendJsonString(std::string& out, std::string_view text);

// Floating-point numbers as WriteNumber says; they must be finite.
template <typename Number>
void AppendNumber(std::string& out, Number number) {
  char text[32];
  if constexpr (std::is_floating_point_v<Number>) {
    static_assert(sizeof(text) >= kNumberRoom<Number>);
    out.append(text, WriteNumber(text, number));
  } else {
    out.append(text, std::to_chars(text, text + sizeof(text), number).ptr);
  }
}

// {"error": message}
std::string ErrorJson(std::string_view message);

}  // namespace duly
