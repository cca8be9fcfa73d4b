// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace duly {

// Documents have milliseconds, the formulas seconds.
inline constexpr double kMillis = 1e3;

// Writes the text to the file. kInvalidArgument when it cannot be written.
Status WriteText(const std::string& file, const std::string& text);
// What --json FILE does: writes the document to the file, or to `out` for "-".
Status WriteJson(const std::string& file, const nlohmann::ordered_json& json, std::ostream& out);

}  // namespace duly
