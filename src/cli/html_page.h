// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace duly {

// What the pages that --report writes have in common: one file each, that opens without network.

// Everything before the first heading, and after the last word.
std::string PageHead(std::string_view title);
inline constexpr std::string_view kPageEnd = "</body></html>\n";

// Text for a page.
std::string Escaped(std::string_view text);
// Of the n-th thing compared.
std::string_view ColourOf(std::size_t n);
// What a colour means: the words of a legend, one after another.
std::string LegendEntry(std::string_view colour, std::string_view words);

}  // namespace duly
