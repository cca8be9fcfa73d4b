// SPDX-License-Identifier: Apache-2.0
#include "profile/catalogue.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/units.h"

namespace duly {

Catalogue::Catalogue(std::string folder, Faults& faults)
    : folder_(std::move(folder)), faults_(&faults) {
  facts_ = LoadVariantFacts(folder_ + "/variants.yaml", faults);
}

Catalogue Catalogue::Read(const YamlValue& folder, Faults& faults) {
  const std::optional<std::string> path = folder.AsPath();
  return path ? Catalogue(*path, faults) : Catalogue();
}

bool IsClockStep(const YamlValue& value, std::uint64_t hz,
                 const std::vector<std::uint64_t>& steps) {
  if (std::ranges::count(steps, hz) > 0) return true;
  std::vector<std::string> known;
  for (const std::uint64_t step : steps) known.push_back(FormatFrequency(step));
  value.Fail(fmt::format("{} is no step of the clock", FormatFrequency(hz)),
             known.empty() ? "no 'frequency': the catalogue has no clock of this device"
                           : fmt::format("one of: {}", fmt::join(known, ", ")));
  return false;
}

std::optional<Catalogue::Found> Catalogue::Find(const YamlValue& value,
                                                const YamlValue& frequency) {
  std::optional<Found> found = FindDevice(value);
  if (!found) return std::nullopt;
  found->hz = found->device->top_hz();
  const std::optional<std::uint64_t> hz = frequency.AsFrequency();
  if (hz && IsClockStep(frequency, *hz, found->device->clock_hz)) found->hz = *hz;
  return found;
}

std::optional<Catalogue::Found> Catalogue::FindDevice(const YamlValue& value) {
  const std::optional<std::string> path = value.AsText();
  if (!path) return std::nullopt;
  if (faults_ == nullptr) {
    value.Fail(fmt::format("'{}' is of a catalogue, and there is none", *path),
               "'catalogue: FOLDER' at the top of the file");
    return std::nullopt;
  }
  const std::size_t slash = path->find('/');
  const std::string name = path->substr(0, slash);
  auto board = boards_.find(name);
  if (board == boards_.end()) {
    const std::string file = fmt::format("{}/{}.yaml", folder_, name);
    if (slash == std::string::npos || !IsFile(file)) {
      value.Fail(fmt::format("'{}' is no device of the catalogue", *path),
                 fmt::format("BOARD/DEVICE, with a file {}/BOARD.yaml", folder_));
      return std::nullopt;
    }
    board = boards_.emplace(name, LoadBoard(file, *faults_)).first;
  }
  const std::string of_board = slash == std::string::npos ? "" : path->substr(slash + 1);
  const BoardDevice* const device = board->second.Find(of_board);
  if (device == nullptr) {
    std::vector<std::string_view> known;
    for (const BoardDevice& each : board->second.devices) known.push_back(each.name);
    value.Fail(fmt::format("board '{}' has no device '{}'", name, of_board),
               fmt::format("one of: {}", fmt::join(known, ", ")));
    return std::nullopt;
  }
  return Found{name, &board->second, device, 0};
}

std::optional<double> Catalogue::AccuracyOf(std::string_view model,
                                            std::string_view variant) const {
  const auto found = std::ranges::find_if(facts_, [&](const VariantFacts& facts) {
    return facts.model == model && facts.variant == variant;
  });
  if (found == facts_.end()) return std::nullopt;
  return found->accuracy_pct;
}

std::vector<VariantProfile> CatalogueProfile(const BoardDevice& device, const std::string& name,
                                             std::uint64_t hz, std::uint32_t threads,
                                             const std::vector<CatalogueModel>& models) {
  const std::vector<VariantProfile> all = ProfileOf(device, name, hz, threads);
  std::vector<VariantProfile> profiles;
  for (const CatalogueModel& model : models) {
    for (const CatalogueModel::Variant& variant : model.variants) {
      for (const std::string& is : variant.is) {
        const auto found = std::ranges::find_if(all, [&](const VariantProfile& profile) {
          return profile.model == model.is && profile.variant == is;
        });
        if (found == all.end()) continue;
        VariantProfile& profile = profiles.emplace_back(*found);
        profile.model = model.name;
        profile.variant = variant.name;
        break;
      }
    }
  }
  return profiles;
}

}  // namespace duly
