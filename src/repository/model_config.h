// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fault.h"
#include "model/model_spec.h"

namespace duly {

// Which of the version folders are served.
struct VersionPolicy {
  enum class Kind : std::uint8_t { kLatest, kAll, kSpecific };
  Kind kind = Kind::kLatest;
  std::uint32_t latest = 1;            // kLatest: so many, the highest
  std::vector<std::int64_t> specific;  // kSpecific
  Place place;
};

// What config.pbtxt says; the versions and their files are found by repository.h.
struct ModelConfigFile {
  ModelSpec spec;  // without version and variants
  VersionPolicy versions;
  std::string model_filename;  // default_model_filename; empty when not given
  Place model_filename_place;
};

// Reads config.pbtxt (the text form of proto/model_config.proto). What Duly has no equal for is a
// fault that says so; a syntax error ends the reading, all other faults are listed.
//
// Differences from Triton, all of them in what is *not* written: an omitted `max_batch_size` with
// no input and output is read from the model file; an omitted `allow_timeout_override` allows it;
// an omitted `count` of an instance group means as many as the device has slots; `dims` may be
// omitted for scalars. Samples of `model_warmup` without inputs are runs on zeros.
ModelConfigFile ParseModelConfig(const std::string& text, const std::string& file,
                                 const std::string& model_name, Faults& faults);

// The same from the JSON form, as clients send it; `source` stands for the file, and no fault has a
// place in it.
ModelConfigFile ParseModelConfigJson(const std::string& json, const std::string& source,
                                     const std::string& model_name, Faults& faults);

}  // namespace duly
