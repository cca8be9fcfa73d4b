// SPDX-License-Identifier: Apache-2.0
#include "base/fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <tuple>

namespace duly {

std::string Fault::ToString() const {
  std::string text = file;
  if (line > 0) text += fmt::format(":{}", line);
  if (line > 0 && column > 0) text += fmt::format(":{}", column);
  if (!text.empty()) text += ": ";
  text += what;
  if (!expected.empty()) text += ": expected " + expected;
  // Names and values come from the file: one fault stays one line, and no terminal is steered.
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

void Faults::Append(Faults other) {
  std::move(other.faults_.begin(), other.faults_.end(), std::back_inserter(faults_));
}

void Faults::Sort() {
  std::stable_sort(faults_.begin(), faults_.end(), [](const Fault& a, const Fault& b) {
    return std::tie(a.file, a.line, a.column) < std::tie(b.file, b.line, b.column);
  });
}

std::string Faults::ToString() const {
  std::string text;
  for (const Fault& fault : faults_) {
    if (!text.empty()) text += '\n';
    text += fault.ToString();
  }
  return text;
}

Status Faults::ToStatus() const {
  if (empty()) return Status();
  return Status(StatusCode::kInvalidArgument, ToString());
}

}  // namespace duly
