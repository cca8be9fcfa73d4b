// SPDX-License-Identifier: Apache-2.0
#include "base/build.h"

namespace duly {

std::string_view Version() { return DULY_VERSION; }

std::string_view BuildId() { return DULY_BUILD_ID; }

}  // namespace duly
