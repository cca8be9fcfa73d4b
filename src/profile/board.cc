// SPDX-License-Identifier: Apache-2.0
#include "profile/board.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "base/yaml_reader.h"
#include "profile/device_reader.h"

namespace duly {
namespace {

constexpr std::uint32_t kMaxCores = 1024;
constexpr double kMaxWatts = 1e6;
constexpr double kMaxTerm = 1e6;
constexpr double kMaxSeconds = 3600;

// 0 stands for a clock that never changes: terms at 1 GHz are what they are.
double Ghz(std::uint64_t hz) { return hz == 0 ? 1 : static_cast<double>(hz) * 1e-9; }

// The parts of a catalogue's file that say where figures come from.
class Origins {
 public:
  void Read(YamlMap& root) {
    Read(root["sources"], Origin::Kind::kSource);
    Read(root["rules"], Origin::Kind::kRule);
  }

  // `source: ID` or `rule: ID` beside a figure, and not both.
  Origin Of(YamlMap& map, const YamlValue& figure) {
    const YamlValue source = map["source"];
    const YamlValue rule = map["rule"];
    Origin origin;
    if (source.present() == rule.present()) {
      (rule.present() ? rule : figure)
          .Fail(rule.present() ? "both a source and a rule" : "a figure without an origin",
                "'source', or 'rule' of an estimate");
      return origin;
    }
    origin.kind = rule.present() ? Origin::Kind::kRule : Origin::Kind::kSource;
    const YamlValue& value = rule.present() ? rule : source;
    origin.id = value.AsText().value_or("");
    const auto known = entries_.find({origin.kind, origin.id});
    if (known != entries_.end()) {
      known->second.used = true;
    } else if (!origin.id.empty()) {
      value.Fail(fmt::format("there is no {} '{}'", value.name(), origin.id),
                 fmt::format("an entry of '{}s'", value.name()));
    }
    return origin;
  }

  void CheckUse(Faults& faults) const {
    for (const auto& [key, entry] : entries_) {
      if (entry.used) continue;
      faults.Add(entry.place, fmt::format("'{}' stands behind no figure", key.second),
                 "sources and rules that are used");
    }
  }

 private:
  struct Entry {
    Place place;
    bool used = false;
  };

  void Read(const YamlValue& value, Origin::Kind kind) {
    YamlMap map = value.AsMap();
    for (const auto& [id, text] : map.Rest()) {
      if (text.AsText()) entries_[{kind, id}] = {text.key_place(), false};
    }
  }

  std::map<std::pair<Origin::Kind, std::string>, Entry> entries_;
};

LatencyFit ReadLatencyFit(YamlMap& map) {
  LatencyFit fit;
  fit.a_gcycles = map["a_gcycles"].AsNumber(-kMaxTerm, kMaxTerm).value_or(0);
  fit.b_gcycles = map["b_gcycles"].AsNumber(-kMaxTerm, kMaxTerm).value_or(0);
  fit.c_s = map["c_s"].AsNumber(-kMaxTerm, kMaxTerm).value_or(0);
  fit.d_s = map["d_s"].AsNumber(-kMaxTerm, kMaxTerm).value_or(0);
  fit.error_pct = map["error_pct"].AsNumber(0, 100).value_or(0);
  return fit;
}

class BoardReader {
 public:
  BoardReader(Board& board, Faults& later) : board_(board), later_(later) {}

  void Read(YamlMap& root) {
    origins_.Read(root);
    board_.board = root.Required("board").AsText().value_or("");
    const YamlValue memory = root["memory"];
    YamlMap memory_map = memory.AsMap();
    if (memory.present()) {
      board_.memory_bytes = memory_map.Required("size").AsSize().value_or(0);
      origins_.Of(memory_map, memory);
    }
    const YamlValue idle = root["static_power"];
    YamlMap idle_map = idle.AsMap();
    if (idle.present()) {
      board_.static_w = idle_map.Required("watts").AsNumber(0, kMaxWatts).value_or(0);
      origins_.Of(idle_map, idle);
    }
    for (const YamlValue& device : root.Required("devices").AsNonEmptyList()) ReadDevice(device);
    origins_.CheckUse(later_);
  }

 private:
  void ReadDevice(const YamlValue& value) {
    YamlMap map = value.AsMap();
    BoardDevice device;
    const YamlValue name = map.Required("name");
    device.name = name.AsText().value_or("");
    if (board_.Find(device.name) != nullptr) {
      name.Fail(fmt::format("name '{}' is given again", device.name), "each name once");
    }
    device.about = map["about"].AsText().value_or("");
    const YamlValue kind = map.Required("kind");
    device.kind = ReadMechanism(kind).value_or(DeviceMechanism::kSerial);
    if (device.kind == DeviceMechanism::kConcurrent) {
      kind.Fail("no board's speed of overlapping batches is known", "another kind");
    }
    if (device.kind == DeviceMechanism::kCpu) {
      device.cores = map.Required("cores").AsCount(1, kMaxCores).value_or(1);
    }
    if (const YamlValue clock = map["clock"]; clock.present()) ReadClock(clock, device);
    if (const YamlValue scaling = map["scaling"]; scaling.present()) {
      YamlMap terms = scaling.AsMap();
      device.scaling = ReadLatencyFit(terms);
      origins_.Of(terms, scaling);
      CheckPositive(scaling, *device.scaling, device);
    } else if (device.clock_hz.size() > 1) {
      value.Fail("a clock without 'scaling'", "what batches and clocks make of a service time");
    }
    if (const YamlValue power = map["power"]; power.present()) ReadPower(power, device);
    for (const YamlValue& variant : map.Required("variants").AsNonEmptyList()) {
      ReadVariant(variant, device);
    }
    board_.devices.push_back(std::move(device));
  }

  void ReadClock(const YamlValue& value, BoardDevice& device) {
    YamlMap map = value.AsMap();
    for (const YamlValue& step : map.Required("steps").AsNonEmptyList()) {
      const std::optional<std::uint64_t> hz = step.AsFrequency();
      if (!hz) continue;
      if (!device.clock_hz.empty() && *hz <= device.top_hz()) {
        step.Fail(
            fmt::format("{} after {}", FormatFrequency(*hz), FormatFrequency(device.top_hz())),
            "ascending steps");
        continue;
      }
      device.clock_hz.push_back(*hz);
    }
    device.clock_change = map["change"].AsDuration().value_or(Duration(0));
    origins_.Of(map, value);
  }

  void ReadPower(const YamlValue& value, BoardDevice& device) {
    YamlMap map = value.AsMap();
    PowerFit power;
    power.dynamic_w = map.Required("dynamic_w").AsNumber(0, kMaxWatts).value_or(0);
    const YamlValue one_row = map["one_row_w"];
    power.one_row_w = one_row.AsNumber(0, kMaxWatts).value_or(0);
    if (power.one_row_w > power.dynamic_w) {
      one_row.Fail("one row would take less than nothing", "at most dynamic_w");
    }
    power.exponent = map["exponent"].AsNumber(0, 8).value_or(1);
    power.error_pct = map["error_pct"].AsNumber(0, 100).value_or(0);
    origins_.Of(map, value);
    device.power = power;
  }

  // At every step, for one row and for many.
  void CheckPositive(const YamlValue& value, const LatencyFit& fit, const BoardDevice& device) {
    std::vector<std::uint64_t> steps = device.clock_hz;
    if (steps.empty()) steps.push_back(0);
    for (const std::uint64_t hz : steps) {
      const double one = fit.Seconds(Ghz(hz), 1);
      if (one > 0 && one < kMaxSeconds && fit.Seconds(Ghz(hz), 2) >= one) continue;
      value.Fail(fmt::format("one row takes {:.3g} s at {}, and two {:.3g} s", one,
                             FormatFrequency(hz), fit.Seconds(Ghz(hz), 2)),
                 "more than 0, at most an hour, and not less for more rows");
      return;
    }
  }

  void ReadVariant(const YamlValue& value, BoardDevice& device) {
    YamlMap map = value.AsMap();
    BoardVariant variant;
    variant.model = map.Required("model").AsText().value_or("");
    variant.variant = map.Required("variant").AsText().value_or("");
    if (device.kind == DeviceMechanism::kCpu) {
      variant.threads = map["threads"].AsCount(1, device.cores).value_or(device.cores + 1);
    }
    if (device.kind == DeviceMechanism::kEdgeTpu) {
      variant.swap = map.Required("swap").AsDuration().value_or(Duration(0));
    }
    variant.memory_bytes = map["memory"].AsSize().value_or(0);
    if (const YamlValue fit = map["fit"]; fit.present()) {
      YamlMap terms = fit.AsMap();
      variant.fit = ReadLatencyFit(terms);
      CheckPositive(fit, *variant.fit, device);
    } else {
      ReadMean(map, device, variant);
    }
    variant.origin = origins_.Of(map, value);
    for (const BoardVariant& other : device.variants) {
      if (variant.model.empty() || std::tie(other.model, other.variant, other.threads) !=
                                       std::tie(variant.model, variant.variant, variant.threads)) {
        continue;
      }
      value.Fail(fmt::format("'{}' of '{}' is given again", variant.variant, variant.model),
                 "each variant once for a number of threads");
    }
    device.variants.push_back(std::move(variant));
  }

  void ReadMean(YamlMap& map, const BoardDevice& device, BoardVariant& variant) {
    const YamlValue mean = map.Required("mean");
    variant.mean = mean.AsPositiveDuration().value_or(Duration(1));
    if (ToSeconds(variant.mean) > kMaxSeconds) mean.Fail("mean is above an hour", "at most 1h");
    const YamlValue at = map["at"];
    variant.hz = at.present() ? at.AsFrequency().value_or(device.top_hz()) : device.top_hz();
    if (at.present() && !std::ranges::count(device.clock_hz, variant.hz)) {
      at.Fail(fmt::format("{} is no step of the clock", FormatFrequency(variant.hz)),
              "one of the device's 'clock'");
    }
  }

  Board& board_;
  Faults& later_;
  Origins origins_;
};

// Faults that show only at the end of a file come in their place.
void InOrder(Faults faults, Faults later, Faults& all) {
  faults.Append(std::move(later));
  faults.Sort();
  all.Append(std::move(faults));
}

}  // namespace

std::uint32_t BoardDevice::most_threads() const {
  std::uint32_t most = 1;
  for (const BoardVariant& variant : variants) most = std::max(most, variant.threads);
  return most;
}

Duration BoardDevice::ServiceTime(const BoardVariant& variant, std::uint64_t hz,
                                  std::uint32_t rows) const {
  if (variant.fit) return FromSeconds(variant.fit->Seconds(Ghz(hz), rows));
  if (!scaling) return variant.mean * rows;
  const double measured = scaling->Seconds(Ghz(variant.hz), 1);
  return FromSeconds(ToSeconds(variant.mean) * scaling->Seconds(Ghz(hz), rows) / measured);
}

double BoardDevice::Watts(std::uint64_t hz, std::uint32_t rows) const {
  DULY_CHECK(power.has_value());
  return power->Watts(Ghz(hz), rows);
}

const BoardDevice* Board::Find(std::string_view device) const {
  const auto found = std::ranges::find(devices, device, &BoardDevice::name);
  return found == devices.end() ? nullptr : &*found;
}

Board ParseBoard(const std::string& text, const std::string& file, Faults& all_faults) {
  Board board;
  Faults faults;
  Faults later;
  ReadYaml(text, file, faults, [&](YamlMap& root) { BoardReader(board, later).Read(root); });
  InOrder(std::move(faults), std::move(later), all_faults);
  return board;
}

Board LoadBoard(const std::string& file, Faults& all_faults) {
  Board board;
  Faults faults;
  Faults later;
  LoadYaml(file, faults, [&](YamlMap& root) { BoardReader(board, later).Read(root); });
  InOrder(std::move(faults), std::move(later), all_faults);
  return board;
}

std::vector<VariantFacts> LoadVariantFacts(const std::string& file, Faults& all_faults) {
  std::vector<VariantFacts> all;
  Faults faults;
  Faults later;
  LoadYaml(file, faults, [&](YamlMap& root) {
    Origins origins;
    origins.Read(root);
    std::set<std::pair<std::string, std::string>> seen;
    for (const YamlValue& value : root.Required("variants").AsNonEmptyList()) {
      YamlMap map = value.AsMap();
      VariantFacts facts;
      facts.model = map.Required("model").AsText().value_or("");
      facts.variant = map.Required("variant").AsText().value_or("");
      facts.accuracy_pct = map.Required("accuracy").AsNumber(0, 100).value_or(0);
      origins.Of(map, value);
      if (!facts.model.empty() && !seen.emplace(facts.model, facts.variant).second) {
        value.Fail(fmt::format("'{}' of '{}' is given again", facts.variant, facts.model),
                   "each variant once");
      }
      all.push_back(std::move(facts));
    }
    origins.CheckUse(later);
  });
  InOrder(std::move(faults), std::move(later), all_faults);
  return all;
}

std::vector<VariantProfile> ProfileOf(const BoardDevice& device, const std::string& as,
                                      std::uint64_t hz, std::uint32_t threads) {
  std::vector<VariantProfile> profiles;
  for (const BoardVariant& variant : device.variants) {
    if (device.kind == DeviceMechanism::kCpu && variant.threads != threads) continue;
    VariantProfile& profile = profiles.emplace_back();
    profile.model = variant.model;
    profile.variant = variant.variant;
    profile.device = as;
    profile.threads = variant.threads;
    profile.memory_bytes = variant.memory_bytes;
    for (const std::uint32_t rows : {1U, 2U}) {
      const Duration mean = device.ServiceTime(variant, hz, rows);
      profile.points.push_back({rows, mean, mean, mean, 0});
    }
  }
  return profiles;
}

}  // namespace duly
