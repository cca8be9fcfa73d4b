// SPDX-License-Identifier: Apache-2.0
#include "cli/device_yaml.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "queueing/edge_tpu.h"

namespace duly {
namespace {

using queueing::Mechanism;

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

// o_i: as given, else over the link, else by the published rule; none where nothing is known.
double Swap(const YamlValue& swap, const std::optional<std::uint64_t>& on_chip, const Chip& chip) {
  if (swap.present()) return ToSeconds(swap.AsDuration().value_or(Duration(0)));
  if (!on_chip) return 0;
  const double bytes = static_cast<double>(*on_chip);
  if (chip.link_bytes_per_s) return bytes / *chip.link_bytes_per_s;
  return queueing::DefaultSwap(bytes * 1e-6);
}

}  // namespace

queueing::Device ReadDeviceKeys(YamlMap& map, Chip& chip) {
  queueing::Device device;
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

ServiceKeys ReadServiceKeys(YamlMap& map, const Chip& chip) {
  const YamlValue service = map.Required("service");
  const double mean_s = ToSeconds(service.AsPositiveDuration().value_or(Duration(1)));
  constexpr double kMaxCv2 = 100;
  const double cv2 = map["service_cv2"].AsNumber(0, kMaxCv2).value_or(0);
  const std::optional<std::uint64_t> memory = map["memory"].AsSize();
  const YamlValue on_chip = map["on_chip"];
  const std::optional<std::uint64_t> on_chip_bytes = on_chip.AsSize();
  const double swap_s = Swap(map["swap"], on_chip_bytes, chip);
  const YamlValue host = map["host"];
  double after_s = ToSeconds(host.AsDuration().value_or(Duration(0)));
  if (after_s >= mean_s) {
    host.Fail("the host takes as long as the service", "less: it is a part of the service");
    after_s = 0;
  }
  if (on_chip_bytes && memory && *on_chip_bytes > *memory) {
    on_chip.Fail("more on the chip than memory", "at most 'memory'");
  }
  return {{mean_s, cv2}, swap_s, after_s, memory, on_chip, on_chip_bytes.value_or(0)};
}

double ReadRateKey(YamlMap& map) {
  constexpr double kMaxRate = 1e9;
  const YamlValue value = map.Required("rate");
  const double rate_per_s = value.AsRate().value_or(1);
  if (rate_per_s > 0 && rate_per_s <= kMaxRate) return rate_per_s;
  value.Fail(fmt::format("the rate is {}", rate_per_s), "above 0, at most 1e9 per second");
  return 1;
}

void CheckFits(const Chip& chip, const YamlValue& value, std::uint64_t bytes) {
  if (!chip.cache_bytes || bytes <= *chip.cache_bytes) return;
  value.Fail(fmt::format("{} on the chip", FormatSize(bytes)),
             fmt::format("at most the cache of {}", FormatSize(*chip.cache_bytes)));
}

}  // namespace duly
