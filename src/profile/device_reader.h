// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/yaml_reader.h"
#include "model/device_behaviour.h"

namespace duly {

// A word: serial, timeslice, concurrent, edgetpu, cpu.
std::optional<DeviceMechanism> ReadMechanism(const YamlValue& value);

// The keys of a device that is not there, in scenarios and in the configuration of a node
// (docs/sim.md): kind, slots, speed, swap, co_resident, cores, threads, noise, fail_every. The
// caller may read more keys of the map.
// `known`: what is known of it already, which the keys change; without it the kind is required.
// check_model is called with every value that names a model.
DeviceBehaviour ReadDeviceBehaviour(
    YamlMap& map, const std::optional<DeviceBehaviour>& known,
    const std::function<void(const YamlValue& value, const std::string& name)>& check_model);

}  // namespace duly
