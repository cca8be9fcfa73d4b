// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/interface/backend.h"
#include "base/result.h"
#include "base/time.h"
#include "model/model_spec.h"
#include "profile/profile.h"

namespace duly {

struct MeasureOptions {
  // Batch sizes: 1, 2, 4, ... up to the smaller of this and the model's cap.
  std::uint32_t max_rows = 32;
  // Per batch size: at least min_runs, then as many as fit into the time.
  std::uint32_t min_runs = 3;
  Duration time_per_point = std::chrono::milliseconds(20);
  // Called after each batch size.
  std::function<void(const ProfilePoint&)> progress;
};

// Inputs of `rows` rows for a model: zeros, dimensions of any size taken as 1, empty strings.
std::vector<Tensor> ZeroInputs(const ModelSpec& model, std::uint32_t rows);

// Runs the variant alone on zeros and measures how long it takes. One run per batch size is not
// counted (it allocates). Runs on the calling thread.
Result<std::vector<ProfilePoint>> Measure(LoadedVariant& variant, const ModelSpec& model,
                                          const Clock& clock, const MeasureOptions& options);

}  // namespace duly
