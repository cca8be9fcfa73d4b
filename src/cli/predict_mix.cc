// SPDX-License-Identifier: Apache-2.0
#include "cli/predict_mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/yaml_reader.h"
#include "cli/device_yaml.h"

namespace duly {
namespace {

constexpr std::size_t kMaxClasses = 1000;

queueing::Device ReadDevice(const YamlValue& value, Catalogue& catalogue, Chip& chip) {
  if (value.present() && !value.is_map()) {
    value.Fail("the device is not a map", "{kind: ...}");
    return {};
  }
  YamlMap map = value.AsMap();
  return ReadDeviceKeys(map, catalogue, chip);
}

class ClassReader {
 public:
  explicit ClassReader(const Chip& chip) : chip_(chip) {}

  PredictMix::Class Read(const YamlValue& item) {
    PredictMix::Class one;
    YamlMap map = item.AsMap();
    queueing::ServedClass& load = one.load;
    const YamlValue name = map.Required("name");
    one.name = name.AsText().value_or("");
    if (!one.name.empty() && !names_.insert(one.name).second) {
      name.Fail(fmt::format("class '{}' is given again", one.name), "unique names");
    }
    load.rate_per_s = ReadRateKey(map);
    const ServiceKeys keys = ReadServiceKeys(map, chip_);
    load.service = keys.service;
    load.swap_s = keys.swap_s;
    load.after_s = keys.after_s;
    load.weight = map["weight"].AsPositiveNumber().value_or(1);
    const YamlValue resident = map["resident"];
    const std::string set = resident.AsText().value_or("");
    if (set.empty()) {
      CheckFits(chip_, keys.on_chip, keys.on_chip_bytes);
    } else {
      const auto [found, is_new] = sets_.emplace(set, static_cast<int>(sets_.size()));
      load.resident_set = found->second;
      bytes_of_set_[set] += keys.on_chip_bytes;
      CheckFits(chip_, resident, bytes_of_set_[set]);
    }
    return one;
  }

 private:
  const Chip& chip_;
  std::set<std::string> names_;
  std::map<std::string, int> sets_;
  std::map<std::string, std::uint64_t> bytes_of_set_;
};

}  // namespace

PredictMix ReadPredictMix(const std::string& file, Faults& faults) {
  PredictMix mix;
  Faults inner;
  LoadYaml(file, faults, [&](YamlMap& root) {
    Catalogue catalogue = Catalogue::Read(root["catalogue"], inner);
    Chip chip;
    mix.device = ReadDevice(root.Required("device"), catalogue, chip);
    ClassReader reader(chip);
    const YamlValue list = root.Required("classes");
    const std::vector<YamlValue> items = list.AsNonEmptyList();
    if (items.size() > kMaxClasses) {
      list.Fail(fmt::format("{} classes", items.size()), fmt::format("at most {}", kMaxClasses));
      return;
    }
    for (const YamlValue& item : items) mix.classes.push_back(reader.Read(item));
  });
  faults.Append(std::move(inner));
  return mix;
}

}  // namespace duly
