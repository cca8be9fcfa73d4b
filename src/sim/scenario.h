// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fault.h"
#include "base/time.h"
#include "model/device_behaviour.h"
#include "model/model_spec.h"
#include "profile/board.h"
#include "profile/profile.h"
#include "repository/node_config.h"
#include "sim/link.h"
#include "sim/temperature.h"
#include "workload/mix.h"

namespace duly::sim {

struct ScenarioDevice {
  std::string name;
  DeviceBehaviour behaviour;
  std::optional<double> idle_w;  // both or none
  std::optional<double> busy_w;
  double one_row_w = 0;  // less, with one row a batch; of b rows, 1/b of it
  // Of the catalogue's clock, ascending; empty: it has none.
  struct ClockStep {
    std::uint64_t hz = 0;
    double busy_w = 0;
    double one_row_w = 0;
    std::vector<VariantProfile> profiles;  // what the scenario does not say itself
  };
  std::vector<ClockStep> steps;
  std::size_t step = 0;  // at the start
  Duration clock_change{0};
  std::optional<ThermalSpec> thermal;  // with power and a clock
};

struct ScenarioNode {
  std::string name;
  Place place;
  std::vector<ScenarioDevice> devices;
  Profile profile;
  std::vector<ModelPlacement> placement;
  std::vector<std::uint32_t> without;  // models that are not there at the start
  PolicyConfig policy;
  NodeLimits limits;
  // What runs really take: the profile's times this, plus the overhead of a batch. The engine is
  // told the profile alone.
  double service_factor = 1;
  Duration batch_overhead{0};
  LinkSpec to_node;
  LinkSpec from_node;
};

struct ScenarioApplication {
  workload::ApplicationLoad load;
  Place place;
  std::vector<std::string> nodes;  // empty: every node that has the model, in turn
  std::uint64_t request_bytes = 0;
  std::uint64_t response_bytes = 0;
};

// What is done to the nodes while they serve. Indices are those of the scenario's vectors.
struct ScenarioEvent {
  enum class Kind : std::uint8_t { kLoad, kUnload, kFrequency, kMove };
  Kind kind = Kind::kLoad;
  Duration at{0};                 // from the start of the run, the warm-up included
  std::uint32_t node = 0;         // kMove: where to
  std::uint32_t model = 0;        // kLoad, kUnload
  std::uint32_t device = 0;       // kFrequency
  std::size_t step = 0;           // kFrequency
  std::uint32_t application = 0;  // kMove
  Place place;
};

// A world for the simulator (`duly sim FILE`); docs/sim.md has the form. Paths in it are relative
// to the file.
struct Scenario {
  std::string file;
  std::string about;
  Duration duration = std::chrono::seconds(60);  // measured, after the warm-up
  Duration warmup = std::chrono::seconds(5);
  std::uint64_t seed = 1;
  double load_factor = 1;
  std::vector<ModelSpec> models;
  std::vector<Place> model_places;
  std::vector<Duration> load_times;  // of models, without their warm-up runs
  std::vector<ScenarioNode> nodes;
  std::vector<ScenarioApplication> applications;
  std::vector<ScenarioEvent> events;
};

// Adds every fault that it finds, those between its parts included.
Scenario ReadScenario(const std::string& file, Faults& faults);
Scenario ParseScenario(const std::string& text, const std::string& file, Faults& faults);

}  // namespace duly::sim
