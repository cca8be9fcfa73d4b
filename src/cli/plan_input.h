// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/fault.h"
#include "placement/placement.h"

namespace duly {

// What `duly plan` reads: two files, whose keys docs/plan.md describes.
struct PlanInput {
  placement::Cluster cluster;
  placement::Limits limits;
  std::vector<placement::Application> applications;
};

// Adds every fault of both files.
PlanInput ReadPlanInput(const std::string& cluster_file, const std::string& applications_file,
                        Faults& faults);

}  // namespace duly
