// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace duly {

struct TableColumn {
  std::string title;
  enum class Align { kLeft, kRight } align = Align::kRight;
  std::vector<std::string> cells;  // as many in every column
  // An escape sequence that colours the cell, for each; empty: plain.
  std::vector<std::string_view> colours = {};
};

// Lines of text with the columns beside each other.
std::string FormatTable(const std::vector<TableColumn>& columns);

// A field of a CSV file (RFC 4180): quoted when it must be.
std::string QuoteCsv(std::string_view text);

}  // namespace duly
