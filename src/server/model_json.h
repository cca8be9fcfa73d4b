// SPDX-License-Identifier: Apache-2.0
//
// What a server says about itself and its models, in the JSON of the Open Inference Protocol and of
// Triton's extensions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "engine/stats.h"
#include "runtime/infer.h"

namespace duly {

using ServedModels = std::span<const std::shared_ptr<const ServedModel>>;

// GET /v2
std::string ServerMetadataJson(std::string_view version);
// GET /v2/models (KServe): names, each once.
std::string ModelNamesJson(ServedModels models);
// GET /v2/models/M: `versions` are all of the model.
std::string ModelMetadataJson(const ModelSpec& spec, std::span<const std::int64_t> versions);
// GET /v2/models/M/config: Triton's ModelConfig, as far as the specification fills it.
std::string ModelConfigJson(const ModelSpec& spec);
// GET /v2/models/M/stats and /v2/models/stats. Times in the statistics are on the engine's clock;
// unix_now_ms is the calendar's time at `now`.
std::string ModelStatsJson(ServedModels models, const EngineStats& stats, TimePoint now,
                           std::int64_t unix_now_ms);
// POST /v2/repository/index
std::string RepositoryIndexJson(ServedModels models);

}  // namespace duly
