// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace duly {

std::string FormatTable(const std::vector<TableColumn>& columns) {
  std::vector<std::string> lines(columns.empty() ? 0 : columns.front().cells.size() + 1);
  for (const TableColumn& column : columns) {
    std::size_t width = column.title.size();
    for (const std::string& cell : column.cells) width = std::max(width, cell.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string& cell = i == 0 ? column.title : column.cells[i - 1];
      if (&column != &columns.front()) lines[i] += "  ";
      const bool coloured = i > 0 && !column.colours.empty();
      if (coloured) lines[i] += column.colours[i - 1];
      lines[i] += column.align == TableColumn::Align::kLeft ? fmt::format("{:<{}}", cell, width)
                                                            : fmt::format("{:>{}}", cell, width);
      if (coloured) lines[i] += "\033[0m";
    }
  }
  std::string text;
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string QuoteCsv(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace duly
