// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace duly {

// "0.1.0".
std::string_view Version();

// What tells builds apart: "0.1.0 (0123456789ab, GNU 12.2.0)". The commit is that of the last
// configuration, without what was not committed then; it is missing where there was no repository.
std::string_view BuildId();

}  // namespace duly
