// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/status.h"
#include "model/model_spec.h"
#include "platform/cpu_budget.h"

namespace duly {

// Settles slots and cores that the configuration left open, and refuses devices that would have
// more threads runnable at once than they have cores, or all together more than the budget:
// requests on such a machine delay each other without any queue showing it.
//
// CPU devices and emulated devices that compute take part; they share what is left of the budget
// evenly, the first ones taking one thread more. An emulated device that computes nothing has one
// slot unless it says more. A device without cores gets those that no other device names, when one
// does; else it stays unpinned.
//
// On failure: kInvalidArgument, one line for each fault; `devices` is then half settled.
Status CheckThreadBudget(std::vector<DeviceSpec>& devices, const CpuBudget& budget);

}  // namespace duly
