// SPDX-License-Identifier: Apache-2.0
//
// Small nodes for tests.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/virtual_driver.h"

namespace duly {

constexpr TimePoint At(Duration d) { return TimePoint(d); }
constexpr Duration Millis(double ms) { return Duration(static_cast<std::int64_t>(ms * 1e6)); }

// Milliseconds per rows: {{1, 10}, {4, 35}}.
using Millipoints = std::vector<std::pair<std::uint32_t, double>>;

inline ServicePrediction Measured(const Millipoints& points) {
  std::vector<ProfilePoint> measured;
  for (const auto& [rows, ms] : points) {
    ProfilePoint point;
    point.rows = rows;
    point.mean = Millis(ms);
    measured.push_back(point);
  }
  return ServicePrediction(LatencyCurve::Create(measured).value());
}

// An EngineConfig under construction.
class NodeBuilder {
 public:
  explicit NodeBuilder(std::vector<std::uint32_t> slots_of_devices = {1}) {
    for (const std::uint32_t slots : slots_of_devices) {
      config_.devices.push_back({"device" + std::to_string(config_.devices.size()), slots});
    }
  }

  // A model with one variant on device 0, a slot's worth of instances, and an application of the
  // same name.
  GenerationIndex Model(const std::string& name, const Millipoints& points,
                        std::uint32_t max_rows = 0) {
    Generation generation;
    generation.model = name;
    generation.max_rows = max_rows;
    generation.default_application = App(name);
    config_.generations.push_back(generation);
    const auto index = static_cast<GenerationIndex>(config_.generations.size() - 1);
    AddVariant(index, "default", 0, points);
    return index;
  }
  std::uint32_t AddVariant(GenerationIndex generation, const std::string& name, double accuracy_pct,
                           const Millipoints& points) {
    Variant variant;
    variant.name = name;
    variant.accuracy_pct = accuracy_pct;
    config_.generations[generation].variants.push_back(variant);
    const auto index =
        static_cast<std::uint32_t>(config_.generations[generation].variants.size() - 1);
    Place(generation, index, 0, points);
    return index;
  }
  void Place(GenerationIndex generation, std::uint32_t variant, DeviceIndex device,
             const Millipoints& points) {
    Placement placement;
    placement.device = device;
    placement.instances = config_.devices[device].slots;
    placement.service = Measured(points);
    config_.generations[generation].variants[variant].placements.push_back(placement);
  }
  ApplicationIndex App(const std::string& name) {
    Application application;
    application.name = name;
    config_.applications.push_back(application);
    return static_cast<ApplicationIndex>(config_.applications.size() - 1);
  }

  Generation& operator[](GenerationIndex generation) { return config_.generations[generation]; }
  Application& application(ApplicationIndex index) { return config_.applications[index]; }
  EngineConfig& config() { return config_; }

 private:
  EngineConfig config_;
};

// The service time that the profile says.
inline Duration AsMeasured(const EngineConfig& config, const StartBatch& start) {
  return config.generations[start.generation]
      .variants[start.variant]
      .On(start.device)
      ->service.curve()
      .Mean(start.rows);
}

// A driver in which every batch takes as long as the profile says.
inline VirtualDriver Drive(NodeBuilder& node, std::unique_ptr<DispatchPolicy> policy) {
  const EngineConfig config = node.config();
  return {config, std::move(policy),
          [config](const StartBatch& start) { return AsMeasured(config, start); }};
}

inline Arrival Of(GenerationIndex generation) {
  Arrival arrival;
  arrival.generation = generation;
  return arrival;
}
inline Arrival Promised(Duration slo, GenerationIndex generation = 0) {
  Arrival arrival = Of(generation);
  arrival.slo = slo;
  return arrival;
}
inline Arrival Patient(Duration timeout, GenerationIndex generation = 0) {
  Arrival arrival = Of(generation);
  arrival.timeout = timeout;
  return arrival;
}

}  // namespace duly
