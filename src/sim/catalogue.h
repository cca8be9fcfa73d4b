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

namespace duly::sim {

// The boards that a scenario names (devices/, profile/board.h), each read once.
class Catalogue {
 public:
  Catalogue() = default;  // has no board
  // Faults of its files go to `faults`, the caller's.
  Catalogue(std::string folder, Faults& faults);

  struct Found {
    std::string board_name;
    const Board* board = nullptr;
    const BoardDevice* device = nullptr;
  };
  // The device of a value BOARD/DEVICE; valid as long as this. Adds a fault and returns nothing
  // where there is none.
  std::optional<Found> Find(const YamlValue& value);

  std::optional<double> AccuracyOf(std::string_view model, std::string_view variant) const;

 private:
  std::string folder_;
  Faults* faults_ = nullptr;
  std::map<std::string, Board> boards_;
  std::vector<VariantFacts> facts_;
};

// What a scenario calls a model, and what the catalogue calls it.
struct CatalogueModel {
  std::string name;
  std::string is;
  struct Variant {
    std::string name;
    std::vector<std::string> is;  // the first that a device has
  };
  std::vector<Variant> variants;
};

// Entries for the device `name` of a scenario, for what it has of the models.
std::vector<VariantProfile> CatalogueProfile(const BoardDevice& device, const std::string& name,
                                             std::uint64_t hz, std::uint32_t threads,
                                             const std::vector<CatalogueModel>& models);

}  // namespace duly::sim
