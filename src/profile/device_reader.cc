// SPDX-License-Identifier: Apache-2.0
#include "profile/device_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace duly {
namespace {

using Mechanism = DeviceMechanism;
using CheckModel = std::function<void(const YamlValue& value, const std::string& name)>;

constexpr std::uint32_t kMaxSlots = 1024;
constexpr std::uint32_t kMaxFailEvery = 1'000'000'000;
constexpr double kMaxNoise = 10;

void ReadSpeed(YamlMap& map, DeviceBehaviour& device) {
  const YamlValue value = map.Required("speed");
  for (const YamlValue& item : value.AsNonEmptyList()) {
    const double most = static_cast<double>(device.speed.size() + 1);
    device.speed.push_back(item.AsNumber(1e-3, most).value_or(1));
  }
  if (!device.speed.empty() && device.speed.front() != 1) {
    value.Fail("the speed of one batch is not 1", "profiles measure that: speed: [1, ...]");
  }
}

void ReadOnChip(YamlMap& map, const CheckModel& check_model, DeviceBehaviour& device) {
  const bool is_known = !device.swap.empty();
  YamlMap swap = (is_known ? map["swap"] : map.Required("swap")).AsMap();
  for (const auto& [model, time] : swap.Rest()) {
    check_model(time, model);
    device.swap[model] = time.AsDuration().value_or(Duration(0));
  }
  std::set<std::string> in_a_set;
  for (const YamlValue& set : map["co_resident"].AsList()) {
    std::vector<std::string>& names = device.co_resident.emplace_back();
    for (const YamlValue& item : set.AsNonEmptyList()) {
      const std::string name = item.AsText().value_or("");
      if (name.empty()) continue;
      check_model(item, name);
      if (!in_a_set.insert(name).second) {
        item.Fail(fmt::format("model '{}' is in a set already", name), "each model in one set");
      }
      names.push_back(name);
    }
  }
}

void ReadCores(YamlMap& map, bool is_known, DeviceBehaviour& device) {
  const YamlValue threads = map["threads"];
  device.cores = (is_known ? map["cores"] : map.Required("cores"))
                     .AsCount(1, kMaxSlots)
                     .value_or(device.cores);
  device.threads = threads.AsCount(1, kMaxSlots).value_or(device.threads);
  if (device.threads > device.cores) {
    threads.Fail(fmt::format("{} threads on {} cores", device.threads, device.cores),
                 "threads up to the number of cores");
    device.threads = device.cores;
  }
}

std::uint32_t DefaultSlots(const DeviceBehaviour& device) {
  switch (device.mechanism) {
    case Mechanism::kSerial:
    case Mechanism::kEdgeTpu:
      break;
    case Mechanism::kTimeslice:
      return 0;
    case Mechanism::kConcurrent:
      return std::max(static_cast<std::uint32_t>(device.speed.size()), 1U);
    case Mechanism::kCpu:
      return device.cores / device.threads;
  }
  return 1;
}

NoiseSpec ReadNoise(const YamlValue& value) {
  NoiseSpec noise;
  if (value.is_map()) {
    YamlMap settings = value.AsMap();
    noise.cv = settings.Required("cv").AsNumber(0, kMaxNoise).value_or(0);
    if (noise.cv > 0) noise.kind = NoiseSpec::Kind::kLognormal;
  } else {
    noise.kind = value
                     .AsChoice<NoiseSpec::Kind>({{"none", NoiseSpec::Kind::kNone},
                                                 {"exponential", NoiseSpec::Kind::kExponential}})
                     .value_or(NoiseSpec::Kind::kNone);
  }
  return noise;
}

}  // namespace

std::optional<DeviceMechanism> ReadMechanism(const YamlValue& value) {
  return value.AsChoice<Mechanism>({{"serial", Mechanism::kSerial},
                                    {"timeslice", Mechanism::kTimeslice},
                                    {"concurrent", Mechanism::kConcurrent},
                                    {"edgetpu", Mechanism::kEdgeTpu},
                                    {"cpu", Mechanism::kCpu}});
}

DeviceBehaviour ReadDeviceBehaviour(YamlMap& map, const std::optional<DeviceBehaviour>& known,
                                    const CheckModel& check_model) {
  DeviceBehaviour device = known.value_or(DeviceBehaviour());
  device.mechanism =
      ReadMechanism(known ? map["kind"] : map.Required("kind")).value_or(device.mechanism);
  if (device.mechanism == Mechanism::kConcurrent) ReadSpeed(map, device);
  if (device.mechanism == Mechanism::kEdgeTpu) ReadOnChip(map, check_model, device);
  if (device.mechanism == Mechanism::kCpu) ReadCores(map, known.has_value(), device);
  device.slots = DefaultSlots(device);
  if (device.mechanism != Mechanism::kEdgeTpu) {
    device.slots = map["slots"].AsCount(1, kMaxSlots).value_or(device.slots);
  }
  device.noise = ReadNoise(map["noise"]);
  device.fail_every = map["fail_every"].AsCount(1, kMaxFailEvery).value_or(0);
  return device;
}

}  // namespace duly
