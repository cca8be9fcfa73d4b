// SPDX-License-Identifier: Apache-2.0
#include "cli/html_page.h"

#include <fmt/format.h>

#include <array>

namespace duly {
namespace {

// Distinct for colour-blind readers (Okabe and Ito).
constexpr std::array kColours{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"};

constexpr std::string_view kBeforeTitle = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>)";
constexpr std::string_view kAfterTitle = R"(</title><style>
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.better{background:#d9f0e3}.worse{background:#fadbd0}
small{color:#666}svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#333}
.key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}div.wide{overflow-x:auto}
</style></head><body>
)";

}  // namespace

std::string PageHead(std::string_view title) {
  return fmt::format("{}{}{}", kBeforeTitle, Escaped(title), kAfterTitle);
}

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string_view ColourOf(std::size_t n) { return kColours[n % kColours.size()]; }

std::string LegendEntry(std::string_view colour, std::string_view words) {
  return fmt::format("<span class=\"key\" style=\"background:{}\"></span>{}", colour,
                     Escaped(words));
}

}  // namespace duly
