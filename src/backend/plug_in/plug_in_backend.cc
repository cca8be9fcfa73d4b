// SPDX-License-Identifier: Apache-2.0
#include "backend/plug_in/plug_in_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/common/batch.h"
#include "backend/common/batch_output.h"
#include "backend/common/gather.h"
#include "backend/common/monotonic.h"
#include "backend/plug_in/plug_in_library.h"
#include "model/complete.h"

namespace duly {
namespace {

using plug_in::Device;

constexpr std::size_t kAbsent = std::numeric_limits<std::size_t>::max();
// Where tensors without elements are: in the interface, NULL is one that is not there.
void* Nothing() {
  alignas(64) static constexpr std::byte kNothing{};
  return const_cast<std::byte*>(&kNothing);
}

struct Scratch {
  GatherSpace gathered;  // stays
  std::vector<Shape> shapes;
  std::vector<DulyTensor> inputs;
  // By output of the back end.
  std::vector<std::uint8_t> wanted;
  std::vector<std::uint8_t> answered;
  std::vector<BatchOutput> outputs;

  void Clear() {
    shapes.clear();
    inputs.clear();
    wanted.clear();
    answered.clear();
    outputs.clear();
  }
};

// A variant as its back end has loaded it; tensors in the back end's order.
class Loaded {
 public:
  Loaded(std::shared_ptr<Device> device, DulyVariant* handle)
      : device_(std::move(device)), handle_(handle) {}
  ~Loaded() { device_->functions().unload(handle_); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

  Status Describe(const DulyVariantInfo& info) {
    Result<std::vector<TensorSpec>> inputs =
        plug_in::ReadSpecs(info.inputs, info.input_count, "input");
    if (!inputs) return inputs.error();
    Result<std::vector<TensorSpec>> outputs =
        plug_in::ReadSpecs(info.outputs, info.output_count, "output");
    if (!outputs) return outputs.error();
    inputs_ = *std::move(inputs);
    outputs_ = *std::move(outputs);
    memory_bytes_ = info.memory_bytes;
    return Status();
  }

  const Device& device() const { return *device_; }
  DulyVariant* handle() const { return handle_; }
  const std::vector<TensorSpec>& inputs() const { return inputs_; }
  const std::vector<TensorSpec>& outputs() const { return outputs_; }
  std::uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  const std::shared_ptr<Device> device_;
  DulyVariant* const handle_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  std::uint64_t memory_bytes_ = 0;
};

// More than any machine has that this is for.
constexpr std::size_t kMostOutputBytes = std::size_t{1} << 38;

// What a run asks memory of, on the thread of the run.
class Answer {
 public:
  Answer(const std::vector<TensorSpec>& specs, std::uint32_t rows, std::uint32_t max_rows,
         Scratch& scratch)
      : specs_(specs), rows_(rows), max_rows_(max_rows), scratch_(scratch) {
    scratch_.answered.assign(specs.size(), 0);
    scratch_.outputs.resize(specs.size());
  }

  // DulyRun::output.
  static void* Output(void* host, std::size_t index, const std::int64_t* shape, std::size_t rank,
                      std::size_t bytes) noexcept {
    Answer& answer = *static_cast<Answer*>(host);
    try {
      Result<void*> memory = answer.Allocate(index, shape, rank, bytes);
      if (memory) return *memory;
      answer.refused_ = std::move(memory).error();
    } catch (const std::exception&) {
      answer.refused_ =
          Status(StatusCode::kInternal, fmt::format("no memory for an output of {} bytes", bytes));
    }
    return nullptr;
  }

  // Of the run, after it.
  Status Check(Status ran) {
    // The run fails because of it.
    if (!refused_.ok()) return std::move(refused_);
    if (!ran.ok()) return ran;
    for (std::size_t k = 0; k < specs_.size(); ++k) {
      if (scratch_.wanted[k] == 0) continue;
      if (scratch_.answered[k] == 0) return Refused(k, "was not answered: expected its bytes");
      if (specs_[k].type != DataType::kBytes) continue;
      if (const Status rows = FindRows(k); !rows.ok()) return rows;
    }
    return Status();
  }

 private:
  Status Refused(std::size_t k, std::string_view what) const {
    return Status(StatusCode::kInternal, fmt::format("output '{}' {}", specs_[k].name, what));
  }

  Result<void*> Allocate(std::size_t index, const std::int64_t* sizes, std::size_t rank,
                         std::size_t bytes) {
    if (index >= specs_.size()) {
      return Error(StatusCode::kInternal, "output {} was answered: expected one below {}", index,
                   specs_.size());
    }
    if (scratch_.wanted[index] == 0) {
      return Error(Refused(index, "was answered: it was not wanted"));
    }
    if (scratch_.answered[index] != 0) return Error(Refused(index, "was answered twice"));
    const TensorSpec& spec = specs_[index];
    if (rank != spec.shape.size() || (rank > 0 && sizes == nullptr)) {
      return Error(
          Refused(index, fmt::format("has {} dimensions{}: expected {}", rank,
                                     sizes == nullptr ? " at NULL" : "", ToString(spec.shape))));
    }
    BatchOutput& output = scratch_.outputs[index];
    output.shape.assign(sizes, sizes + rank);
    const std::optional<std::int64_t> elements = ElementCount(output.shape);
    if (!elements ||
        !std::ranges::equal(output.shape, spec.shape, [](std::int64_t size, std::int64_t said) {
          return said == -1 || said == size;
        })) {
      return Error(Refused(index, fmt::format("has shape {}: expected {}", ToString(output.shape),
                                              ToString(spec.shape))));
    }
    DULY_RETURN_IF_ERROR(CheckOutputRows(spec.name, output.shape, rows_, max_rows_));
    const bool counted = spec.type == DataType::kBytes;
    const std::size_t each = counted ? sizeof(std::uint32_t) : ElementSize(spec.type);
    std::size_t size = 0;
    if (__builtin_mul_overflow(static_cast<std::size_t>(*elements), each, &size) ||
        (counted ? bytes < size : bytes != size)) {
      return Error(Refused(index, fmt::format("of shape {} and type {} has {} bytes: expected {}{}",
                                              ToString(output.shape), ToString(spec.type), bytes,
                                              counted ? "at least " : "", size)));
    }
    if (bytes > kMostOutputBytes) {
      return Error(Refused(
          index, fmt::format("has {} bytes: expected {} at most", bytes, kMostOutputBytes)));
    }
    auto [buffer, memory] = Buffer::Allocate(bytes);
    output.data = std::move(buffer);
    output.row_size = bytes / rows_;
    scratch_.answered[index] = 1;
    return memory.empty() ? Nothing() : memory.data();
  }

  // Where the rows of an output of kBytes begin.
  Status FindRows(std::size_t k) {
    BatchOutput& output = scratch_.outputs[k];
    const auto elements = static_cast<std::size_t>(ElementCount(output.shape).value());
    const auto split = SplitBytesTensor(output.data.data(), static_cast<std::int64_t>(elements));
    if (!split) {
      return Refused(k,
                     fmt::format("of {} bytes is not well-formed: expected {} lengths, each with "
                                 "so many bytes",
                                 output.data.size(), elements));
    }
    const std::size_t per_row = elements / rows_;
    std::size_t position = 0;
    for (std::size_t i = 0; i < elements; ++i) {
      if (i % per_row == 0) output.row_offsets.push_back(position);
      position += sizeof(std::uint32_t) + (*split)[i].size();
    }
    output.row_offsets.resize(std::size_t{rows_} + 1, position);
    return Status();
  }

  const std::vector<TensorSpec>& specs_;
  const std::uint32_t rows_;
  const std::uint32_t max_rows_;
  Scratch& scratch_;
  Status refused_;
};

class PlugInVariant final : public LoadedVariant {
 public:
  PlugInVariant(std::unique_ptr<Loaded> loaded, ModelSpec model, const std::string& file)
      : loaded_(std::move(loaded)),
        inputs_(std::move(model.inputs)),
        outputs_(std::move(model.outputs)),
        max_rows_(model.max_rows),
        context_(fmt::format("{}: {}", file, loaded_->device().file())) {
    const auto index_in = [](const std::vector<TensorSpec>& specs, const TensorSpec& wanted) {
      const auto found = std::ranges::find(specs, wanted.name, &TensorSpec::name);
      return found == specs.end() ? kAbsent : static_cast<std::size_t>(found - specs.begin());
    };
    for (const TensorSpec& input : loaded_->inputs()) {
      input_positions_.push_back(index_in(inputs_, input));
    }
    for (const TensorSpec& output : outputs_) {
      output_positions_.push_back(static_cast<std::uint32_t>(index_in(loaded_->outputs(), output)));
    }
  }

  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  std::uint64_t memory_bytes() const override { return loaded_->memory_bytes(); }

  Status Run(std::span<RunItem> items, RunTimes& times) override {
    ClearOutputs(items);
    const Duration start = MonotonicNow();
    const Result<std::uint32_t> rows = CheckBatch(items, inputs_, outputs_.size(), max_rows_);
    if (!rows) return rows.error().WithContext(context_);
    Pool<Scratch>::Lease lease(scratch_);
    Scratch& scratch = *lease;
    if (Status gathered = AddInputs(items, *rows, scratch); !gathered.ok()) {
      return gathered.WithContext(context_);
    }
    ChooseOutputs(items, scratch);

    Answer answer(loaded_->outputs(), *rows, max_rows_, scratch);
    const DulyRun run{.size = sizeof(DulyRun),
                      .rows = *rows,
                      .inputs = scratch.inputs.data(),
                      .wanted = scratch.wanted.data(),
                      .host = &answer,
                      .output = &Answer::Output};
    const Duration before_infer = MonotonicNow();
    Status ran = plug_in::Call("the run", [&](char* message, std::size_t capacity) {
      return loaded_->device().functions().run(loaded_->handle(), &run, message, capacity);
    });
    const Duration after_infer = MonotonicNow();
    if (Status answered = answer.Check(std::move(ran)); !answered.ok()) {
      return answered.WithContext(context_);
    }
    Scatter(items, outputs_, scratch.outputs, output_positions_, max_rows_);
    times.input = before_infer - start;
    times.infer = after_infer - before_infer;
    times.output = MonotonicNow() - after_infer;
    return Status();
  }

 private:
  Status AddInputs(std::span<const RunItem> items, std::uint32_t rows, Scratch& scratch) const {
    scratch.shapes.reserve(input_positions_.size());
    for (const std::size_t position : input_positions_) {
      const Tensor* const first =
          position == kAbsent ? nullptr : FindInput(items.front(), inputs_, position);
      if (first == nullptr) {
        scratch.inputs.push_back({});
        continue;
      }
      if (first->type == DataType::kBytes) {
        for (const RunItem& item : items) {
          const Tensor& tensor = *FindInput(item, inputs_, position);
          if (SplitBytesTensor(tensor.data.data(), ElementCount(tensor.shape).value())) continue;
          return Status(StatusCode::kInternal,
                        fmt::format("input '{}' is not a well-formed BYTES tensor", tensor.name));
        }
      }
      const std::span<const std::byte> data = Gather(items, inputs_, position, scratch.gathered);
      Shape& shape = scratch.shapes.emplace_back(first->shape);
      if (items.size() > 1) shape[0] = rows;
      scratch.inputs.push_back({.shape = shape.data(),
                                .rank = shape.size(),
                                .data = data.empty() ? Nothing() : data.data(),
                                .bytes = data.size()});
    }
    return Status();
  }

  void ChooseOutputs(std::span<const RunItem> items, Scratch& scratch) const {
    scratch.wanted.assign(loaded_->outputs().size(), 0);
    for (const RunItem& item : items) {
      ForEachWanted(item, outputs_.size(),
                    [&](std::size_t k) { scratch.wanted[output_positions_[k]] = 1; });
    }
  }

  const std::unique_ptr<Loaded> loaded_;
  const std::vector<TensorSpec> inputs_;
  const std::vector<TensorSpec> outputs_;
  // In inputs_, by input of the back end; kAbsent where the configuration leaves out an optional
  // one.
  std::vector<std::size_t> input_positions_;
  std::vector<std::uint32_t> output_positions_;  // among the back end's, by output of outputs_
  const std::uint32_t max_rows_;
  const std::string context_;
  Pool<Scratch> scratch_;
};

class PlugInBackend final : public Backend {
 public:
  explicit PlugInBackend(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& variant) override {
    std::error_code error;
    if (!std::filesystem::exists(variant.file, error)) {
      return Error(StatusCode::kNotFound, "{}: no such file: expected a model for {}", variant.file,
                   device_->file());
    }
    const auto failed = [&](const Status& status) {
      return Error(status.WithContext(device_->file()).WithContext(variant.file));
    };
    const std::vector<DulyTensorSpec> inputs = plug_in::WriteSpecs(model.inputs);
    const std::vector<DulyTensorSpec> outputs = plug_in::WriteSpecs(model.outputs);
    const std::vector<DulyOption> parameters = plug_in::WriteOptions(model.parameters);
    const DulyModelConfig config{.size = sizeof(DulyModelConfig),
                                 .name = model.name.c_str(),
                                 .version = model.version,
                                 .variant = variant.name.c_str(),
                                 .path = variant.file.c_str(),
                                 .max_rows = model.max_rows,
                                 .inputs = inputs.data(),
                                 .input_count = inputs.size(),
                                 .outputs = outputs.data(),
                                 .output_count = outputs.size(),
                                 .parameters = parameters.data(),
                                 .parameter_count = parameters.size()};
    DulyVariant* handle = nullptr;
    DulyVariantInfo info{};
    info.size = sizeof(info);
    const Status called = plug_in::Call("loading", [&](char* message, std::size_t capacity) {
      return device_->functions().load(device_->handle(), &config, &handle, &info, message,
                                       capacity);
    });
    if (!called.ok()) return failed(called);
    if (handle == nullptr) {
      return failed(
          Status(StatusCode::kInternal, "loaded a variant that is NULL: expected a handle"));
    }
    auto loaded = std::make_unique<Loaded>(device_, handle);
    if (const Status described = loaded->Describe(info); !described.ok()) return failed(described);
    ModelSpec complete = model;
    const Status agrees = CompleteFromFile(complete, loaded->inputs(), loaded->outputs());
    if (!agrees.ok()) return Error(agrees.WithContext(variant.file));
    return std::make_unique<PlugInVariant>(std::move(loaded), std::move(complete), variant.file);
  }

  std::string description() const override { return device_->description(); }

 private:
  const std::shared_ptr<Device> device_;
};

}  // namespace

Result<std::unique_ptr<Backend>> MakePlugInBackend(const DeviceSpec& device) {
  DULY_ASSIGN_OR_RETURN(std::shared_ptr<Device> opened, Device::Open(device));
  return std::make_unique<PlugInBackend>(std::move(opened));
}

}  // namespace duly
