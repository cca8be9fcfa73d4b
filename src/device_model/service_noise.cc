// SPDX-License-Identifier: Apache-2.0
#include "device_model/service_noise.h"

#include <fmt/format.h>

namespace duly {

ServiceNoise::ServiceNoise(const DeviceBehaviour& behaviour, std::uint64_t seed,
                           std::string_view device)
    : spec_(behaviour.noise),
      fail_every_(behaviour.fail_every),
      stream_(seed, fmt::format("service/{}", device)) {}

ServiceNoise::Run ServiceNoise::Next() {
  Run run;
  run.number = ++runs_;
  switch (spec_.kind) {
    case NoiseSpec::Kind::kNone:
      break;
    case NoiseSpec::Kind::kLognormal:
      run.factor = stream_.Lognormal(1, spec_.cv);
      break;
    case NoiseSpec::Kind::kExponential:
      run.factor = stream_.Exponential(1);
      break;
  }
  run.fails = fail_every_ > 0 && run.number % fail_every_ == 0;
  return run;
}

}  // namespace duly
