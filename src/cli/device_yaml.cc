// SPDX-License-Identifier: Apache-2.0
#include "cli/device_yaml.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "profile/device_reader.h"
#include "queueing/edge_tpu.h"

namespace duly {
namespace {

using queueing::Mechanism;

Mechanism MechanismOf(DeviceMechanism mechanism) {
  switch (mechanism) {
    case DeviceMechanism::kSerial:
      break;
    case DeviceMechanism::kEdgeTpu:
      return Mechanism::kSwapping;
    case DeviceMechanism::kTimeslice:
      return Mechanism::kSliced;
    case DeviceMechanism::kConcurrent:
      return Mechanism::kShared;
    case DeviceMechanism::kCpu:
      return Mechanism::kServers;
  }
  return Mechanism::kSerial;
}

// What the catalogue has of MODEL/VARIANT on the device.
const BoardVariant* FindVariant(const YamlValue& is, const Chip& chip) {
  const std::optional<std::string> text = is.AsText();
  if (!text) return nullptr;
  if (!chip.known) {
    is.Fail("'is' of a device that is none of the catalogue", "'service', or 'is' of the device");
    return nullptr;
  }
  std::vector<std::string> known;
  for (const BoardVariant& variant : chip.known->device->variants) {
    if (chip.known->device->kind == DeviceMechanism::kCpu && variant.threads != chip.threads)
      continue;
    known.push_back(fmt::format("{}/{}", variant.model, variant.variant));
    if (known.back() == *text) return &variant;
  }
  is.Fail(fmt::format("the device has no '{}'", *text),
          fmt::format("one of: {}", fmt::join(known, ", ")));
  return nullptr;
}

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

queueing::Device ReadDeviceKeys(YamlMap& map, Catalogue& catalogue, Chip& chip) {
  queueing::Device device;
  constexpr std::uint32_t kMaxCores = 4096;
  std::uint32_t servers = 1;
  if (const YamlValue is = map["is"]; is.present()) {
    chip.known = catalogue.Find(is, map["frequency"]);
    const std::optional<std::uint32_t> threads = map["threads"].AsCount(1, kMaxCores);
    if (chip.known) {
      const BoardDevice& known = *chip.known->device;
      chip.threads = threads.value_or(known.most_threads());
      device.mechanism = MechanismOf(known.kind);
      servers = std::max(known.cores / chip.threads, 1U);
    }
    if (const auto kind = ReadMechanism(map["kind"])) device.mechanism = MechanismOf(*kind);
  } else {
    device.mechanism =
        MechanismOf(ReadMechanism(map.Required("kind")).value_or(DeviceMechanism::kSerial));
  }
  chip.cache_bytes = map["cache"].AsSize();
  chip.link_bytes_per_s = ReadLink(map["link"]);
  device.speedup = ReadSpeedup(map["speedup"]);
  device.servers = static_cast<int>(map["cores"].AsCount(1, kMaxCores).value_or(servers));
  return device;
}

ServiceKeys ReadServiceKeys(YamlMap& map, const Chip& chip) {
  const YamlValue is = map["is"];
  const BoardVariant* const known = is.present() ? FindVariant(is, chip) : nullptr;
  const YamlValue service = is.present() ? map["service"] : map.Required("service");
  const Duration of_catalogue =
      known == nullptr ? Duration(1) : chip.known->device->ServiceTime(*known, chip.known->hz, 1);
  const double mean_s = ToSeconds(service.AsPositiveDuration().value_or(of_catalogue));
  constexpr double kMaxCv2 = 100;
  const double cv2 = map["service_cv2"].AsNumber(0, kMaxCv2).value_or(0);
  std::optional<std::uint64_t> memory = map["memory"].AsSize();
  if (!memory && known != nullptr && known->memory_bytes > 0) memory = known->memory_bytes;
  const YamlValue on_chip = map["on_chip"];
  const std::optional<std::uint64_t> on_chip_bytes = on_chip.AsSize();
  const YamlValue swap = map["swap"];
  const bool is_known = known != nullptr && !swap.present() && !on_chip.present();
  const double swap_s = is_known ? ToSeconds(known->swap) : Swap(swap, on_chip_bytes, chip);
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
