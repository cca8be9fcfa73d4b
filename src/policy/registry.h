// SPDX-License-Identifier: Apache-2.0
//
// The explicit list of policies. A new one is added to registry.cc.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "policy/interface/dispatch_policy.h"

namespace duly {

using PolicyOptions = std::map<std::string, std::string>;

struct PolicyEntry {
  std::string_view name;
  std::string_view description;  // one line
  std::string_view options;      // "key (default): meaning; ..."
};

std::span<const PolicyEntry> DispatchPolicies();

// Unknown names and options are errors that list the known ones; values carry units ("1ms").
Result<std::unique_ptr<DispatchPolicy>> MakeDispatchPolicy(std::string_view name,
                                                           const PolicyOptions& options);

}  // namespace duly
