// SPDX-License-Identifier: Apache-2.0
#include "base/closest_name.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace duly {
namespace {

// Longer ones are not typing errors, and the distance is quadratic.
constexpr std::size_t kMaxLength = 100;

std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    before_last.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view ClosestName(std::string_view name, std::span<const std::string_view> known) {
  std::string_view closest;
  if (name.size() > kMaxLength) return closest;
  std::size_t limit = std::max<std::size_t>(1, name.size() / 3);
  for (std::string_view candidate : known) {
    if (candidate.size() > kMaxLength) continue;
    const std::size_t distance = Distance(name, candidate);
    if (distance > limit || (distance == limit && !closest.empty())) continue;
    closest = candidate;
    limit = distance;
  }
  return closest;
}

}  // namespace duly
