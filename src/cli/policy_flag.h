// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace duly {

// A policy as a flag names it: NAME or NAME:key=value,key=value.
struct PolicyChoice {
  std::string name;
  std::map<std::string, std::string> options;
};
// An option without a value has an empty one, which the policy refuses by name.
PolicyChoice ParsePolicyFlag(std::string_view flag);

}  // namespace duly
