// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/model_spec.h"
#include "model/tensor.h"

namespace duly {

// One request's part in a run: inputs in, outputs or a failure out.
struct RunItem {
  // By reference to the request; every input of the model that is not optional is there, in the
  // order of LoadedVariant::inputs(); names, types, shapes and sizes have been checked against
  // these specs.
  std::span<const Tensor> inputs;
  std::uint32_t rows = 1;
  // Indices into LoadedVariant::outputs(); empty means all, in that order.
  std::span<const std::uint32_t> wanted_outputs;
  // Filled by Run, in the order of wanted_outputs.
  std::vector<Tensor> outputs;
};

// Where a run spent its time. Sums to about the run's duration.
struct RunTimes {
  Duration input{0};   // gathering inputs
  Duration infer{0};   // the computation
  Duration output{0};  // scattering outputs
};

// A variant loaded on a device.
// Threading: Run may be called from as many threads at once as the device has slots.
class LoadedVariant {
 public:
  virtual ~LoadedVariant() = default;

  // Those of the model, in its order, where it lists them, else those of the file
  // (model/complete.h); with the leading row dimension (-1) where the model batches.
  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;

  // That it keeps on its device; 0: not known, or not told by the library.
  virtual std::uint64_t memory_bytes() const { return 0; }

  // Runs the items as one batch: along the leading dimension when the model batches, and exactly
  // one item otherwise. On failure no item has outputs, and the whole batch failed. Never throws.
  // An item alone is passed to the library without copying its inputs.
  virtual Status Run(std::span<RunItem> items, RunTimes& times) = 0;
};

// One device as a back end serves it.
// Threading: Load may be called from one thread at a time, while loaded variants run.
class Backend {
 public:
  virtual ~Backend() = default;

  // Loads a variant; the model's inputs and outputs are used where the file does not say them.
  // Failures name the file: kNotFound, kInvalidArgument (not a model, other tensors than the
  // configuration says), kInternal.
  virtual Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                                      const VariantSpec& variant) = 0;

  // Library and version, for people: "onnxruntime 1.31.1".
  virtual std::string description() const = 0;
};

}  // namespace duly
