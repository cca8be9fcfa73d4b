// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "model/device_behaviour.h"
#include "model/outcome.h"
#include "model/tensor.h"

namespace duly {

// One accuracy configuration of a model: a file, its accuracy, its memory.
struct VariantSpec {
  std::string name;  // unique within the model; "default" for a model without duly.yaml
  std::string file;  // path; of a plug-in's model also that of the version's folder
  std::optional<double> accuracy_pct;  // percentage points, as measured or published
  std::string dataset;                 // of the accuracy
  std::string accuracy_method;         // "measured" or "published"; empty when unknown
  std::string accuracy_source;
  std::uint64_t memory_bytes = 0;  // resident, as stated; 0 when unknown
};

// ModelSpec::backend of a model whose outputs are its inputs, without a file: for benchmarks and
// experiments with deadlines.
inline constexpr const char* kCopyBackend = "copy";

// ModelSpec::backend of a model for devices with a plug_in, which alone know its files.
inline constexpr const char* kPlugInBackend = "plug-in";

// What becomes of a request whose patience ends.
enum class OnTimeout : std::uint8_t {
  kReject,  // it expires
  kDelay,   // it is served after those of its level whose patience lasts
};

// Triton's queue policy.
struct QueuePolicy {
  std::uint32_t max_requests = 0;  // that wait; 0: the node's bound
  Duration default_timeout{0};     // 0: none
  // False: a request's own timeout is ignored, as Triton's allow_timeout_override says.
  bool allow_timeout_override = true;
  OnTimeout on_timeout = OnTimeout::kReject;
};

// Settings of the usual dynamic batching (Triton's dynamic_batching). Size and delay are those of
// the policy size-or-timeout.
struct DynamicBatching {
  std::vector<std::uint32_t> preferred_rows = {};  // ascending; empty: as many as there are
  Duration max_queue_delay{0};
  QueuePolicy queue = {};
  // Of the priority levels 1 (first), 2, ..., each with its own policy; empty: there are none.
  std::vector<QueuePolicy> levels = {};
  std::uint32_t default_level = 0;  // of requests that name none of them

  // 0 where there are no levels.
  std::uint32_t LevelOf(std::uint32_t priority) const {
    return priority == 0 || priority > levels.size() ? default_level : priority;
  }
  const QueuePolicy& PolicyOf(std::uint32_t level) const {
    return level == 0 ? queue : levels[level - 1];
  }
};
inline constexpr std::uint32_t kMaxPriorityLevels = 1000;

// An input of a run before a model serves.
struct WarmUpInput {
  enum class Data : std::uint8_t { kZeros, kRandom, kFile };
  std::string name;
  DataType type = DataType::kFp32;
  Shape dims;  // without rows
  Data data = Data::kZeros;
  std::string file;  // kFile: of one row, as it lies in a tensor
};
struct WarmUpSample {
  std::string name;
  std::uint32_t rows = 1;
  std::uint32_t runs = 1;
  std::vector<WarmUpInput> inputs;  // others are zeros; optional ones are left out
};

// One loaded version of a model with its configuration: what a repository folder says.
struct ModelSpec {
  std::string name;
  std::int64_t version = 1;
  std::string folder;       // of the model, for messages
  std::string config_file;  // config.pbtxt, or empty when there is none
  std::string platform = "onnxruntime_onnx";
  std::string backend = "onnxruntime";

  // 0: the model does not batch, and shapes are taken as they are.
  // > 0: every tensor has a leading row dimension, and a batch has at most this many rows.
  std::uint32_t max_rows = 0;
  // True until the model file has said whether it batches; max_rows is 0 till then.
  bool rows_from_file = false;
  // Empty until the model file is loaded, when the configuration does not give them.
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;

  std::vector<VariantSpec> variants;  // at least one; at most kMaxVariants
  std::size_t default_variant = 0;    // index into variants

  std::optional<Duration> slo;      // default promise
  std::optional<Duration> timeout;  // default patience
  std::optional<DynamicBatching> dynamic_batching;
  std::uint32_t instances = 0;    // concurrent runs per device; 0: as many as the device has slots
  bool response_cache = false;    // answers may come from the node's, where it has one
  std::uint32_t warmup_runs = 1;  // on zeros
  std::vector<WarmUpSample> warmup_samples;

  // Of config.pbtxt, passed through to clients.
  std::vector<std::pair<std::string, std::string>> parameters;   // sorted by key
  std::vector<std::pair<std::string, std::string>> label_files;  // output name, as written
  std::vector<std::pair<std::string, std::string>> formats;      // input name, "FORMAT_NCHW"

  // What the indices of an output stand for: output name, labels from index 0 on.
  std::vector<std::pair<std::string, std::vector<std::string>>> labels;
};

// Sets of variants are 32-bit masks.
inline constexpr std::size_t kMaxVariants = 32;
using VariantMask = std::uint32_t;

// Of an application that degrades: over any so many consecutive answers, the mean loss against the
// variant that it gets without degrading.
struct AccuracyBudget {
  double mean_loss_pct = 0;  // percentage points
  std::uint32_t answers = 1000;
  friend bool operator==(const AccuracyBudget&, const AccuracyBudget&) = default;
};
inline constexpr std::uint32_t kMaxBudgetAnswers = 1'000'000;

// Who sends: its promise, its floor and its share. Requests name it with the parameter
// "application"; one without belongs to the model's default application.
struct ApplicationSpec {
  std::string name;
  std::string model;
  double weight = 1;                // of its share of the node under overload
  std::optional<Duration> slo;      // promise: bounds the answer
  std::optional<Duration> timeout;  // patience: bounds the start
  OnMiss on_miss = OnMiss::kRefuse;
  std::optional<double> min_accuracy_pct;         // accuracy floor
  std::optional<AccuracyBudget> accuracy_budget;  // with kDegrade
  double rate_per_s = 0;                          // declared; 0 when unknown
};

enum class DeviceKind : std::uint8_t {
  kCpu,          // cores of this machine, through ONNX Runtime or a plug-in
  kAccelerator,  // what its provider or plug-in computes on; takes no cores
  kEmulated,     // runs take the time that a profile says, off the CPU
};

// An execution provider of ONNX Runtime; without a name the CPU's.
struct ProviderSpec {
  std::string name;      // "CUDA", "OpenVINO" ...; neither case nor "ExecutionProvider" matter
  std::string plug_in;   // the library that has it; empty: built into ONNX Runtime
  std::string hardware;  // of a plug-in: "cpu", "gpu" or "npu"; empty: the first that it offers
  std::map<std::string, std::string> options;  // its own, passed on
  std::string cache_folder;                    // for what it compiles; empty: not kept
  bool cpu_fallback = true;                    // the CPU computes what it cannot
};

// A back end that was built outside of Duly (backend/plug_in/).
struct PlugInSpec {
  std::string file;                            // a shared library; empty: none
  std::map<std::string, std::string> options;  // its own, passed on
};

// One execution target of a node.
struct DeviceSpec {
  std::string name;
  DeviceKind kind = DeviceKind::kCpu;
  std::uint32_t slots = 0;             // batches that run at once; 0: as many as cores / threads
  std::uint32_t threads_per_slot = 1;  // of the back end, within a run
  std::vector<std::uint32_t> cores;    // empty: any
  ProviderSpec provider;               // not kEmulated
  PlugInSpec plug_in;                  // not kEmulated; instead of ONNX Runtime and its provider
  std::string profile_file;            // kEmulated: service times
  DeviceBehaviour behaviour;           // kEmulated; with the slots above
  std::uint64_t seed = 1;              // kEmulated: of the noise
  bool compute = false;                // kEmulated: also compute true outputs with ONNX Runtime
};

// Batches of a model at once on a device of so many slots. Where the model does not say, time
// slices go round the models, each of which runs one batch at a time.
inline std::uint32_t InstancesOf(const ModelSpec& model, DeviceMechanism mechanism,
                                 std::uint32_t slots) {
  if (model.instances != 0) return std::min(model.instances, slots);
  return mechanism == DeviceMechanism::kTimeslice ? 1 : slots;
}

}  // namespace duly
