// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "placement/algorithms.h"
#include "placement/responses.h"

namespace duly {

// Where an algorithm put what, with the figures to judge it by: at the declared rates, responses
// with the node's overhead.
struct PlanReport {
  using Response = placement::Response;
  struct Application {
    std::string name;
    std::string model;
    double rate_per_s = 0;
    placement::Promise slo;
    int device = placement::kNowhere;                 // in `devices`
    std::optional<Response> response = std::nullopt;  // nothing where the device is overloaded
    placement::Refusal refusal = {};                  // where it is nowhere
  };
  struct Device {
    std::string node;
    std::string name;
    std::string type;
    int applications = 0;
    double utilization = 0;
    std::uint64_t memory_used = 0;  // of the node, by all of its devices
    std::uint64_t memory_limit = 0;
  };
  std::string algorithm;
  placement::Optimality optimality = placement::Optimality::kUnknown;
  placement::Limits limits;
  // Whether responses come from queueing::Predict(); from the estimate where there are many
  // devices.
  bool is_exact = true;
  std::vector<Application> applications;  // in the order of the file
  std::vector<Device> devices;
  int hosted = 0;
};

// Not const: reasons for refusals are found by trying.
PlanReport MakePlanReport(placement::Placement& placement, const placement::Algorithm& algorithm,
                          placement::Optimality optimality);

// Why an application is nowhere, for people.
std::string ReasonOf(const PlanReport& report, const placement::Refusal& refusal);

// The document of docs/plan.md; tables for people; a page with charts that opens without network.
nlohmann::ordered_json ToJson(const PlanReport& report);
std::string ToTable(const PlanReport& report);
std::string ToHtml(const PlanReport& report);

}  // namespace duly
