// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "base/yaml_reader.h"
#include "profile/catalogue.h"
#include "queueing/device.h"

namespace duly {

// Keys of docs/queueing.md that say how a device works and what a request takes on it, as the files
// of `duly predict` and `duly plan` have them.

// What a device says that its classes need.
struct Chip {
  std::optional<std::uint64_t> cache_bytes;
  std::optional<double> link_bytes_per_s;
  std::optional<Catalogue::Found> known;  // of the catalogue
  std::uint32_t threads = 1;              // of a request; known
};

// is, frequency, threads, kind, cache, link, speedup, cores.
queueing::Device ReadDeviceKeys(YamlMap& map, Catalogue& catalogue, Chip& chip);

// is, service, service_cv2, memory, on_chip, swap, host.
struct ServiceKeys {
  queueing::ServiceTime service{1, 0};
  double swap_s = 0;
  double after_s = 0;
  std::optional<std::uint64_t> memory_bytes;
  YamlValue on_chip;
  std::uint64_t on_chip_bytes = 0;  // 0 where it does not say
};
ServiceKeys ReadServiceKeys(YamlMap& map, const Chip& chip);
// Requests per second, which the map must have: above 0.
double ReadRateKey(YamlMap& map);
// A fault of the value unless so much fits on the chip.
void CheckFits(const Chip& chip, const YamlValue& value, std::uint64_t bytes);

}  // namespace duly
