// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <string>

#include "cli/policy_flag.h"

namespace duly {

// `duly replay FILE --policy P`: what another policy would have done with recorded traffic.
struct WhatIfFlags {
  std::string file;
  PolicyChoice policy;
  std::string record_file;  // the simulated run's event log; may be empty
  std::string json_file;    // "-" for stdout; may be empty
};
// Simulates the recorded policy first, which says what the simulation is worth. Returns the exit
// status.
int RunWhatIf(const WhatIfFlags& flags, std::ostream& out, std::ostream& err);

}  // namespace duly
