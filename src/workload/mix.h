// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fault.h"
#include "base/time.h"
#include "base/yaml_reader.h"
#include "model/model_spec.h"
#include "workload/arrivals.h"

namespace duly::workload {

// One application as a source of requests.
struct ApplicationLoad {
  // name, model, slo, timeout, min_accuracy_pct, rate_per_s (mean, > 0; of kClosed: what there
  // would be if answers took no time)
  ApplicationSpec spec;
  ArrivalSpec arrivals;
  std::uint32_t rows = 1;   // per request
  std::string variant;      // of the model, and no other; empty: the server chooses. Not in files.
  std::string inputs_file;  // inputs.h; empty: made up from what the server says of the model
  // This share of the requests is given up by the client if not answered in time.
  double cancel_share = 0;  // in [0, 1]
  Duration cancel_after{0};
};

// Who sends what for how long, as a file says it. What is not set was not said.
struct Mix {
  std::optional<std::string> url;
  std::optional<Duration> duration;
  std::optional<Duration> warmup;
  std::optional<std::uint64_t> seed;
  std::optional<double> load_factor;  // multiplies every rate
  std::vector<ApplicationLoad> applications;
};

// Reads a mix:
//
//   url: http://127.0.0.1:8000
//   duration: 30s                 # measured, after warmup
//   warmup: 2s
//   seed: 1
//   load_factor: 1
//   applications:
//     - {name: detector, model: efficientnet-lite, rate: 20/s, slo: 100ms, inputs: cats.yaml}
//     - name: vad
//       model: silero-vad
//       rate: 200/s               # the long-run mean, whatever the process; optional with a trace
//       timeout: 30ms
//       arrivals: {kind: onoff, on: 1s, off: 2s}     # or poisson, constant, FILE.csv,
//                                                    # {kind: trace, file: FILE.csv, speed: 2},
//                                                    # {kind: diurnal, period: 24h, depth: 0.8},
//                                                    # {kind: markov, states: [{weight: 1,
//                                                    #  dwell: 10s}, {weight: 5, dwell: 1s}]}
//       rows: 1
//       min_accuracy: 75
//       cancel: {share: 0.1, after: 5ms}
//
// Paths are relative to the file. Adds every fault that it finds.
Mix ReadMix(const std::string& file, Faults& faults);

// One entry of `applications`, from a map of which the caller may read more keys. Faults of files
// that it names go to `faults`.
ApplicationLoad ReadApplicationLoad(YamlMap& map, Faults& faults);

// "poisson", "constant", "onoff" (with its default periods) or a path that ends in .csv, relative
// to place.file. Adds a fault at `place` and returns nothing for anything else.
std::optional<ArrivalSpec> ReadArrivalWord(const std::string& word, const Place& place,
                                           Faults& faults);

}  // namespace duly::workload
