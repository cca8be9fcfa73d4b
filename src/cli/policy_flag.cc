// SPDX-License-Identifier: Apache-2.0
#include "cli/policy_flag.h"

#include <algorithm>

namespace duly {

PolicyChoice ParsePolicyFlag(std::string_view flag) {
  const std::size_t colon = flag.find(':');
  PolicyChoice choice{std::string(flag.substr(0, colon)), {}};
  std::string_view rest = colon == std::string_view::npos ? "" : flag.substr(colon + 1);
  while (!rest.empty()) {
    const std::string_view option = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), option.size() + 1));
    const std::size_t equals = option.find('=');
    choice.options.emplace(option.substr(0, equals), equals == std::string_view::npos
                                                         ? std::string_view()
                                                         : option.substr(equals + 1));
  }
  return choice;
}

}  // namespace duly
