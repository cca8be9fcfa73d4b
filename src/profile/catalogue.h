// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fault.h"
#include "base/yaml_reader.h"
#include "profile/board.h"

namespace duly {

// The boards that a file names (devices/, profile/board.h), each read once.
class Catalogue {
 public:
  Catalogue() = default;  // has no board
  // As `folder` says, which is relative to its file; without it there is none.
  static Catalogue Read(const YamlValue& folder, Faults& faults);
  // Faults of its files go to `faults`, the caller's.
  Catalogue(std::string folder, Faults& faults);

  struct Found {
    std::string board_name;
    const Board* board = nullptr;
    const BoardDevice* device = nullptr;
    std::uint64_t hz = 0;  // of device->clock_hz; 0: it has no clock
  };
  // The device of a value BOARD/DEVICE at a step of its clock, the highest if `frequency` is not
  // there; valid as long as this. Adds a fault and returns nothing where there is none.
  std::optional<Found> Find(const YamlValue& value, const YamlValue& frequency);

  std::optional<double> AccuracyOf(std::string_view model, std::string_view variant) const;

 private:
  std::optional<Found> FindDevice(const YamlValue& value);

  std::string folder_;
  Faults* faults_ = nullptr;
  std::map<std::string, Board> boards_;
  std::vector<VariantFacts> facts_;
};

// A fault of the value unless the clock has this step.
bool IsClockStep(const YamlValue& value, std::uint64_t hz, const std::vector<std::uint64_t>& steps);

// What a file calls a model, and what the catalogue calls it.
struct CatalogueModel {
  std::string name;
  std::string is;
  struct Variant {
    std::string name;
    std::vector<std::string> is;  // the first that a device has
  };
  std::vector<Variant> variants;
};

// Entries for a device that the file calls `name`, for what it has of the models.
std::vector<VariantProfile> CatalogueProfile(const BoardDevice& device, const std::string& name,
                                             std::uint64_t hz, std::uint32_t threads,
                                             const std::vector<CatalogueModel>& models);

}  // namespace duly
