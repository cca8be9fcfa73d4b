// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "policy/interface/dispatch_policy.h"

namespace duly {

// Makes a policy by its name and options: MakeDispatchPolicy of policy/registry.h, for those who
// must not know the policies themselves.
using PolicyFactory = std::function<Result<std::unique_ptr<DispatchPolicy>>(
    const std::string& name, const std::map<std::string, std::string>& options)>;

}  // namespace duly
