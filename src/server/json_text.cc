// SPDX-License-Identifier: Apache-2.0
#include "server/json_text.h"

#include <cstddef>
#include <cstdint>

#include "base/utf8.h"

namespace duly {
namespace {

void AppendEscape(std::string& out, unsigned char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  std::size_t plain = 0;  // start of what can be copied as it stands
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool escape = c < 0x20 || c == '"' || c == '\\';
    const std::size_t length = escape || c < 0x80 ? 1 : Utf8SequenceLength(text, i);
    if (!escape && length > 0) {
      i += length;
      continue;
    }
    out.append(text.substr(plain, i - plain));
    if (escape) {
      AppendEscape(out, c);
    } else {
      out += "\xEF\xBF\xBD";
    }
    plain = ++i;
  }
  out.append(text.substr(plain));
  out += '"';
}

std::string ErrorJson(std::string_view message) {
  std::string out = "{\"error\":";
  AppendJsonString(out, message);
  out += '}';
  return out;
}

}  // namespace duly
