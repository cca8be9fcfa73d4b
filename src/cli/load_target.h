// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/load_server.h"
#include "model/tensor.h"
#include "workload/inputs.h"
#include "workload/mix.h"

namespace duly {

// Which parameters a request carries besides Triton's own.
enum class Dialect : std::uint8_t {
  kDuly,       // application, slo_us, min_accuracy, and duly_report to learn what happened
  kAnonymous,  // the same without the application's name, which a server must know
  kStandard,   // none of these: any server of the Open Inference Protocol
};

// What one input of a request is, for one request after another.
struct TargetInput {
  Buffer data;  // of all requests, back to back
  std::size_t request_bytes = 0;
  std::size_t requests = 1;  // different ones, taken in turn
  std::string prefix;        // goes before the data (LoadServer::Encode)
};

// One application, prepared: everything that is the same for each of its requests is made once, and
// a request is a gather list of it. Immutable while requests are sent.
struct LoadTarget {
  std::optional<Duration> slo;
  Duration cancel_after{0};
  std::uint32_t rows = 1;
  bool wants_report = false;  // the answer's parameters say what happened
  std::string head;           // what every request begins with (LoadServer::Encode)
  std::vector<TargetInput> inputs;
  std::optional<workload::ExpectedAnswers> expected;
  std::size_t expected_rows = 0;  // in the set that `expected` is about

  // Bytes of a request: head and inputs.
  std::size_t size() const;
  // The parts of the request with this sequence number, into `parts`.
  void Gather(std::uint32_t sequence, std::vector<iovec>& parts) const;
  // Index in the input set of the first row that this request carries.
  std::size_t FirstRow(std::uint32_t sequence) const;
};

// Builds the target of one application from its model's inputs and, if there is one, its set of
// inputs. Without a set, inputs are made up: floating point
// numbers in [0, 1) from the stream "inputs/<application>", zeros and empty strings otherwise;
// dimensions that vary are 1. kInvalidArgument when metadata, inputs and rows do not fit together.
Result<LoadTarget> MakeTarget(const LoadServer& server, const workload::ApplicationLoad& load,
                              std::span<const TensorSpec> model_inputs,
                              const workload::InputSet* set, Dialect dialect, std::uint64_t seed);

// Asks the server about the model of every application and builds the targets, in order. The status
// holds every fault, one a line.
Result<std::vector<LoadTarget>> PrepareTargets(const LoadServer& server,
                                               std::span<const workload::ApplicationLoad> loads,
                                               Dialect dialect, std::uint64_t seed);

}  // namespace duly
