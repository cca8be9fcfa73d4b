// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fault.h"
#include "base/time.h"
#include "model/device_behaviour.h"
#include "profile/operating_fit.h"
#include "profile/profile.h"

namespace duly {

// Where a figure comes from: an entry of the file's `sources`, or, of an estimate, one of its
// `rules`.
struct Origin {
  enum class Kind : std::uint8_t { kSource, kRule };
  Kind kind = Kind::kSource;
  std::string id;
};

// Service time of one variant on one device of a board: a fit of its own, or the mean of one row at
// one clock, which the device's `scaling` takes to other clocks and batches.
struct BoardVariant {
  std::string model;
  std::string variant;
  std::uint32_t threads = 1;  // kCpu
  std::optional<LatencyFit> fit;
  Duration mean{0};      // without a fit
  std::uint64_t hz = 0;  // of the mean; 0: the device has no clock
  std::uint64_t memory_bytes = 0;
  Duration swap{0};  // kEdgeTpu: to bring it on chip
  Origin origin;
};

struct BoardDevice {
  std::string name;
  std::string about;
  DeviceMechanism kind = DeviceMechanism::kSerial;
  std::uint32_t cores = 1;              // kCpu
  std::vector<std::uint64_t> clock_hz;  // ascending; empty: fixed, or not known
  Duration clock_change{0};             // until a new step holds
  // Relative: only its ratios count. Absent: rows one after another, at a fixed clock.
  std::optional<LatencyFit> scaling;
  // Its own share; static_w is the board's. Absent: no figure.
  std::optional<PowerFit> power;
  std::vector<BoardVariant> variants;

  // Of a run of those that were measured; 1 where none was.
  std::uint32_t most_threads() const;
  std::uint64_t top_hz() const { return clock_hz.empty() ? 0 : clock_hz.back(); }
  // Mean service time of a batch; hz of clock_hz, 0 where there is none; rows >= 1.
  Duration ServiceTime(const BoardVariant& variant, std::uint64_t hz, std::uint32_t rows) const;
  // Its own share while it serves batches of that size; it has `power`.
  double Watts(std::uint64_t hz, std::uint32_t rows) const;
};

struct Board {
  std::string board;  // for people
  std::uint64_t memory_bytes = 0;
  double static_w = 0;  // idle, everything on
  std::vector<BoardDevice> devices;

  const BoardDevice* Find(std::string_view device) const;
};

// What a variant is wherever it runs.
struct VariantFacts {
  std::string model;
  std::string variant;
  double accuracy_pct = 0;  // Top-1 of ImageNet, or mean average precision of COCO
};

// Reads devices/BOARD.yaml; docs/devices.md has the form. Every figure names where it comes from.
// Adds every fault with its place; what was read is of use only where there is none.
Board LoadBoard(const std::string& file, Faults& faults);
Board ParseBoard(const std::string& text, const std::string& file, Faults& faults);
// The same for devices/variants.yaml.
std::vector<VariantFacts> LoadVariantFacts(const std::string& file, Faults& faults);

// The variants of a device as a profile has them, under the name `as`; of a CPU, those measured
// with `threads` threads. Points are enough for the curve to be exact: service is linear in rows.
std::vector<VariantProfile> ProfileOf(const BoardDevice& device, const std::string& as,
                                      std::uint64_t hz, std::uint32_t threads);

}  // namespace duly
