// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "queueing/device.h"
#include "queueing/simulation_test_util.h"

namespace duly::queueing {

// Services on a Jetson Nano, in seconds.
inline constexpr double kResnet18 = 1 / 92.3;
inline constexpr double kGooglenet = 1.0 / 72;
inline constexpr double kResnet34 = 1 / 51.2;
inline constexpr double kResnet50 = 1.0 / 34;

// A mix on a device, to be tried at several loads, and how far Predict() may be from a simulation
// of the mechanism beside its confidence interval: what the headers say.
struct GridCase {
  std::string name;
  Device device;
  std::vector<ServedClass> mix;  // rates count relative to each other
  // Relative errors to 0.7 and at 0.9; 0 where exact.
  double mean_to_07 = 0;
  double mean_at_09 = 0;
  double p95_to_07 = 0;
  double p95_at_09 = 0;
};
std::vector<GridCase> GridCases();
inline constexpr double kGridLoads[] = {0.3, 0.5, 0.7, 0.9};

// The mix at this utilization.
std::vector<ServedClass> AtLoad(const GridCase& grid_case, double load);
// Responses by class.
Responses SimulateDevice(const Device& device, const std::vector<ServedClass>& classes,
                         int requests, std::uint64_t seed);

// A formula that Predict() does not ask, at a load, against a simulation of what it is about.
struct Compared {
  std::string what;
  double predicted = 0;
  Measured seen;
};
struct FormulaCase {
  std::string name;
  // How far it may be below and above to 0.7, and at 0.9: what the headers say.
  double below_to_07 = 0;
  double above_to_07 = 0;
  double below_at_09 = 0;
  double above_at_09 = 0;
  std::function<std::vector<Compared>(double load, int requests, std::uint64_t seed)> compare;
};
std::vector<FormulaCase> FormulaCases();

}  // namespace duly::queueing
