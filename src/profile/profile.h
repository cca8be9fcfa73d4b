// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fault.h"
#include "base/result.h"
#include "base/time.h"
#include "base/yaml_reader.h"

namespace duly {

// One measured batch size.
struct ProfilePoint {
  std::uint32_t rows = 1;
  Duration mean{0};
  Duration p95{0};
  Duration p99{0};
  std::uint32_t runs = 0;  // behind the figures
};

// Service time over rows: linear between measured points, proportional below the first, and beyond
// the last with the slope of the last two (proportional when there is one).
class LatencyCurve {
 public:
  struct Knot {
    std::uint32_t rows;
    std::int64_t mean_ns;
    friend bool operator==(const Knot&, const Knot&) = default;
  };

  LatencyCurve() = default;
  // Points ascend in rows, with mean > 0. A mean smaller than that of fewer rows is raised to it: a
  // larger batch never counts as faster than a smaller one.
  static Result<LatencyCurve> Create(std::span<const ProfilePoint> points);

  bool empty() const { return knots_.empty(); }
  // Mean service time of a batch; rows >= 1. 0 when the curve is empty.
  Duration Mean(std::uint32_t rows) const;
  // What it interpolates between; Create() makes the same curve of them again.
  std::span<const Knot> knots() const { return knots_; }

 private:
  Duration Interpolate(std::uint32_t rows) const;

  std::vector<Knot> knots_;
  // The means of 0, 1, ... rows as far as batches usually go: schedulers ask a lot.
  std::vector<Duration> means_;
};

// Measurements of one variant on one device.
struct VariantProfile {
  std::string model;
  std::string variant;
  std::string device;
  std::uint32_t threads = 1;
  std::uint64_t memory_bytes = 0;
  std::vector<ProfilePoint> points;
};

struct Profile {
  std::string machine;  // for people: CPU name and core count
  std::string runtime;  // for people: "onnxruntime 1.31.1"
  std::vector<VariantProfile> variants;

  // The entry, or nullptr. An entry for device "*" fits every device that has none of its own.
  const VariantProfile* Find(std::string_view model, std::string_view variant,
                             std::string_view device) const;
};

// The YAML form, which `duly profile` writes and a person may write for an emulated device:
//
//   machine: Some CPU, 2 cores
//   runtime: onnxruntime 1.31.1
//   variants:
//     - model: fashion
//       variant: m
//       device: cpu                  # or "*"
//       threads: 1                   # default 1
//       memory: 12MiB                # default: unknown
//       points:                      # p95 and p99 default to the mean, runs to 0
//         - {rows: 1, mean: 580us, p95: 600us, p99: 700us, runs: 200}
//
// Each (model, variant, device) once; rows ascend. Every fault is added with its place, and then
// the result is kInvalidArgument.
Result<Profile> ParseProfile(const std::string& text, const std::string& file, Faults& faults);
// The same inside of another file.
void ReadProfile(YamlMap& root, Profile& profile);
Result<Profile> LoadProfile(const std::string& file, Faults& faults);
// Reads back as the same profile, to the nanosecond and byte.
std::string ToYaml(const Profile& profile);

}  // namespace duly
