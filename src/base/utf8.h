// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace duly {

// Length of the well-formed UTF-8 sequence that starts at text[at] (Unicode 15, table 3-7), or 0.
std::size_t Utf8SequenceLength(std::string_view text, std::size_t at);

bool IsUtf8(std::string_view text);

}  // namespace duly
