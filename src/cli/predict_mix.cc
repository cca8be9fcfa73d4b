// SPDX-License-Identifier: Apache-2.0
#include "cli/predict_mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/units.h"
#include "base/yaml_reader.h"

namespace duly {
namespace {

using queueing::Mechanism;

constexpr std::size_t kMaxClasses = 1000;
constexpr double kMaxRate = 1e9;

// What a device says that its classes need.
struct Chip {
  std::optional<std::uint64_t> cache_bytes;
  std::optional<double> link_bytes_per_s;
};

// "320MiB/s".
std::optional<double> ReadLink(const YamlValue& value) {
  if (!value.present()) return std::nullopt;
  const std::optional<std::string> text = value.AsText();
  if (!text) return std::nullopt;
  constexpr std::string_view kPerSecond = "/s";
  if (text->ends_with(kPerSecond)) {
    const Result<std::uint64_t> bytes =
        ParseSize(std::string_view(*text).substr(0, text->size() - kPerSecond.size()));
    if (bytes && *bytes > 0) return static_cast<double>(*bytes);
  }
  value.Fail(fmt::format("link is '{}'", *text), "bytes per second, such as 320MiB/s");
  return std::nullopt;
}

std::vector<double> ReadSpeedup(const YamlValue& value) {
  if (!value.present()) return {1};
  constexpr double kMaxSpeedup = 1000;
  std::vector<double> speedup;
  for (const YamlValue& item : value.AsNonEmptyList()) {
    const std::optional<double> speed = item.AsNumber(1e-3, kMaxSpeedup);
    speedup.push_back(speed.value_or(1));
    if (speed && speedup.size() == 1 && *speed != 1) {
      item.Fail(fmt::format("the first speedup is {}", *speed), "1, the speed of one alone");
    }
  }
  return speedup.empty() ? std::vector<double>{1} : speedup;
}

queueing::Device ReadDevice(const YamlValue& value, Chip& chip) {
  queueing::Device device;
  if (value.present() && !value.is_map()) {
    value.Fail("the device is not a map", "{kind: ...}; there is no catalogue of devices yet");
    return device;
  }
  YamlMap map = value.AsMap();
  device.mechanism = map.Required("kind")
                         .AsChoice<Mechanism>({{"serial", Mechanism::kSerial},
                                               {"edgetpu", Mechanism::kSwapping},
                                               {"timeslice", Mechanism::kSliced},
                                               {"concurrent", Mechanism::kShared},
                                               {"cpu", Mechanism::kServers}})
                         .value_or(Mechanism::kSerial);
  chip.cache_bytes = map["cache"].AsSize();
  chip.link_bytes_per_s = ReadLink(map["link"]);
  device.speedup = ReadSpeedup(map["speedup"]);
  constexpr std::uint32_t kMaxCores = 4096;
  device.servers = static_cast<int>(map["cores"].AsCount(1, kMaxCores).value_or(1));
  return device;
}

// o_i: as given, else over the link, else by the published rule; none where nothing is known.
double Swap(const YamlValue& swap, const std::optional<std::uint64_t>& on_chip, const Chip& chip) {
  if (swap.present()) return ToSeconds(swap.AsDuration().value_or(Duration(0)));
  if (!on_chip) return 0;
  const double bytes = static_cast<double>(*on_chip);
  if (chip.link_bytes_per_s) return bytes / *chip.link_bytes_per_s;
  return queueing::DefaultSwap(bytes * 1e-6);
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
    const YamlValue rate = map.Required("rate");
    load.rate_per_s = rate.AsRate().value_or(1);
    if (!(load.rate_per_s > 0 && load.rate_per_s <= kMaxRate)) {
      rate.Fail(fmt::format("the rate is {}", load.rate_per_s), "above 0, at most 1e9 per second");
    }
    const YamlValue service = map.Required("service");
    load.service.mean_s = ToSeconds(service.AsPositiveDuration().value_or(Duration(1)));
    constexpr double kMaxCv2 = 100;
    load.service.cv2 = map["service_cv2"].AsNumber(0, kMaxCv2).value_or(0);
    const std::optional<std::uint64_t> memory = map["memory"].AsSize();
    const YamlValue on_chip = map["on_chip"];
    const std::optional<std::uint64_t> on_chip_bytes = on_chip.AsSize();
    load.swap_s = Swap(map["swap"], on_chip_bytes, chip_);
    load.weight = map["weight"].AsPositiveNumber().value_or(1);
    const YamlValue host = map["host"];
    load.after_s = ToSeconds(host.AsDuration().value_or(Duration(0)));
    if (load.after_s >= load.service.mean_s) {
      host.Fail("the host takes as long as the service", "less: it is a part of the service");
      load.after_s = 0;
    }
    if (on_chip_bytes && memory && *on_chip_bytes > *memory) {
      on_chip.Fail("more on the chip than memory", "at most 'memory'");
    }
    const std::uint64_t held = on_chip_bytes.value_or(0);
    const YamlValue resident = map["resident"];
    const std::string set = resident.AsText().value_or("");
    if (set.empty()) {
      CheckFits(on_chip, held);
    } else {
      const auto [found, is_new] = sets_.emplace(set, static_cast<int>(sets_.size()));
      load.resident_set = found->second;
      bytes_of_set_[set] += held;
      CheckFits(resident, bytes_of_set_[set]);
    }
    return one;
  }

 private:
  void CheckFits(const YamlValue& value, std::uint64_t bytes) const {
    if (!chip_.cache_bytes || bytes <= *chip_.cache_bytes) return;
    value.Fail(fmt::format("{} on the chip", FormatSize(bytes)),
               fmt::format("at most the cache of {}", FormatSize(*chip_.cache_bytes)));
  }

  const Chip& chip_;
  std::set<std::string> names_;
  std::map<std::string, int> sets_;
  std::map<std::string, std::uint64_t> bytes_of_set_;
};

}  // namespace

PredictMix ReadPredictMix(const std::string& file, Faults& faults) {
  PredictMix mix;
  LoadYaml(file, faults, [&](YamlMap& root) {
    Chip chip;
    mix.device = ReadDevice(root.Required("device"), chip);
    ClassReader reader(chip);
    const YamlValue list = root.Required("classes");
    const std::vector<YamlValue> items = list.AsNonEmptyList();
    if (items.size() > kMaxClasses) {
      list.Fail(fmt::format("{} classes", items.size()), fmt::format("at most {}", kMaxClasses));
      return;
    }
    for (const YamlValue& item : items) mix.classes.push_back(reader.Read(item));
  });
  return mix;
}

}  // namespace duly
