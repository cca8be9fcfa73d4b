// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fault.h"
#include "model/model_spec.h"

namespace duly {

// The most runs on zeros that a repository may ask for.
inline constexpr std::uint32_t kMaxWarmupRuns = 1000;

// What duly.yaml says: the variants of a model and what it promises by default.
//
//   default_variant: m-int8          # default: the first
//   slo: 50ms
//   timeout: 100ms
//   warmup: 2
//   variants:
//     - {name: xxs, file: xxs.onnx, accuracy: 88.02, dataset: "Fashion-MNIST test", method:
//     measured,
//        source: models/fashion/measure.py, memory: 12MiB}
struct ServingFile {
  std::vector<VariantSpec> variants;  // their files as written: relative to the version folder
  std::vector<Place> file_places;     // of each variant's file
  std::optional<std::string> default_variant;
  Place default_variant_place;
  std::optional<Duration> slo;
  std::optional<Duration> timeout;
  std::optional<std::uint32_t> warmup_runs;
};

ServingFile ParseServingFile(const std::string& text, const std::string& file, Faults& faults);

// Relative, and never above the folder that it starts from.
bool StaysInside(const std::string& path);

}  // namespace duly
