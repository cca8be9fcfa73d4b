// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

namespace duly {

// The known name that `name` is probably a misspelling of (edit distance with transpositions, at
// most a third of its length, at least 1), or "" when none is near.
std::string_view ClosestName(std::string_view name, std::span<const std::string_view> known);

}  // namespace duly
