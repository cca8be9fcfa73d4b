// SPDX-License-Identifier: Apache-2.0
#include "backend/onnxruntime/onnxruntime_backend.h"

#include <fmt/ranges.h>
#include <onnxruntime_cxx_api.h>
#include <onnxruntime_session_options_config_keys.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "backend/common/batch.h"
#include "backend/common/batch_output.h"
#include "backend/common/gather.h"
#include "backend/common/monotonic.h"
#include "backend/onnxruntime/library.h"
#include "backend/onnxruntime/provider.h"
#include "backend/onnxruntime/runtime_library.h"
#include "backend/onnxruntime/specs.h"
#include "backend/onnxruntime/strings.h"
#include "model/complete.h"

namespace duly {
namespace {

using onnx::Library;
using onnx::Scratch;

// Official builds since 1.29 keep a device id on disk and send events to their maker unless this is
// set before the environment is made; the function that the API has for it acts after the first
// event.
constexpr const char* kTelemetryOff = "ORT_DISABLE_TELEMETRY";

constexpr std::uint32_t kNotWanted = std::numeric_limits<std::uint32_t>::max();

// Refers to the library's memory for an output, and keeps it there.
struct OwnedValue {
  std::shared_ptr<Library> library;  // destroyed last
  Ort::Value value;
};

class OnnxVariant final : public LoadedVariant {
 public:
  OnnxVariant(std::shared_ptr<Library> library, Ort::Session session, const ModelSpec& model,
              std::string file)
      : library_(std::move(library)),
        session_(std::move(session)),
        inputs_(model.inputs),
        outputs_(model.outputs),
        max_rows_(model.max_rows),
        file_(std::move(file)) {}

  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }

  Status Run(std::span<RunItem> items, RunTimes& times) override {
    ClearOutputs(items);
    Status status;
    try {
      status = RunOrThrow(items, times);
    } catch (const Ort::Exception& e) {
      // The shapes that were sent do not suit the model, although its specs allow them.
      const bool callers_fault = e.GetOrtErrorCode() == ORT_INVALID_ARGUMENT;
      status =
          Status(callers_fault ? StatusCode::kInvalidArgument : StatusCode::kInternal, e.what());
    } catch (const std::exception& e) {
      status = Status(StatusCode::kInternal, e.what());
    }
    if (!status.ok()) ClearOutputs(items);
    return status.WithContext(file_);
  }

 private:
  Status RunOrThrow(std::span<RunItem> items, RunTimes& times) {
    const Duration start = MonotonicNow();
    const Result<std::uint32_t> rows = CheckBatch(items, inputs_, outputs_.size(), max_rows_);
    if (!rows) return rows.error();
    Pool<Scratch>::Lease lease(library_->scratch());
    Scratch& scratch = *lease;
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      if (Status status = AddInput(items, k, *rows, scratch); !status.ok()) return status;
    }
    ChooseOutputs(items, scratch);

    const Duration before_infer = MonotonicNow();
    session_.Run(Ort::RunOptions(nullptr), scratch.input_names.data(), scratch.inputs.data(),
                 scratch.inputs.size(), scratch.output_names.data(), scratch.outputs.data(),
                 scratch.outputs.size());
    const Duration after_infer = MonotonicNow();

    for (std::size_t i = 0; i < scratch.outputs.size(); ++i) {
      if (Status status = TakeOutput(i, *rows, scratch); !status.ok()) return status;
    }
    Scatter(items, outputs_, scratch.batch_outputs, scratch.positions, max_rows_);
    times.input = before_infer - start;
    times.infer = after_infer - before_infer;
    times.output = MonotonicNow() - after_infer;
    return Status();
  }

  // Input k of the whole batch, in place where there is one item.
  Status AddInput(std::span<const RunItem> items, std::size_t k, std::uint32_t rows,
                  Scratch& scratch) {
    const TensorSpec& spec = inputs_[k];
    const Tensor* const first = FindInput(items.front(), inputs_, k);
    if (first == nullptr) return Status();
    scratch.input_names.push_back(spec.name.c_str());
    Shape batch_shape;
    std::span<const std::int64_t> shape = first->shape;
    if (items.size() > 1) {
      batch_shape = first->shape;
      batch_shape[0] = rows;
      shape = batch_shape;
    }
    if (spec.type == DataType::kBytes) return AddStrings(items, k, shape, scratch);

    const std::span<const std::byte> data = Gather(items, inputs_, k, scratch.gathered);
    // The library takes no null pointer, not even for nothing; it does not write to inputs.
    static constexpr std::byte kNothing{};
    void* const address = const_cast<std::byte*>(data.empty() ? &kNothing : data.data());
    scratch.inputs.push_back(Ort::Value::CreateTensor(library_->memory(), address, data.size(),
                                                      shape.data(), shape.size(),
                                                      onnx::ToElementType(spec.type)));
    scratch.input_data.push_back(data);
    return Status();
  }

  Status AddStrings(std::span<const RunItem> items, std::size_t k,
                    std::span<const std::int64_t> shape, Scratch& scratch) {
    std::vector<std::string_view> elements;
    for (const RunItem& item : items) {
      const Tensor& tensor = *FindInput(item, inputs_, k);
      const auto split = SplitBytesTensor(tensor.data.data(), ElementCount(tensor.shape).value());
      if (!split) {
        return Status(StatusCode::kInternal,
                      fmt::format("input '{}' is not a well-formed BYTES tensor", tensor.name));
      }
      elements.insert(elements.end(), split->begin(), split->end());
    }
    scratch.inputs.push_back(onnx::MakeStringTensor(shape, elements));
    return Status();
  }

  // Every output that some item wants, each once.
  void ChooseOutputs(std::span<const RunItem> items, Scratch& scratch) const {
    scratch.positions.assign(outputs_.size(), kNotWanted);
    const auto want = [&](std::size_t output) {
      if (scratch.positions[output] != kNotWanted) return;
      scratch.positions[output] = static_cast<std::uint32_t>(scratch.output_names.size());
      scratch.output_names.push_back(outputs_[output].name.c_str());
      scratch.outputs.emplace_back(nullptr);
    };
    for (const RunItem& item : items) {
      if (item.wanted_outputs.empty()) {
        for (std::size_t output = 0; output < outputs_.size(); ++output) want(output);
        break;
      }
      for (const std::uint32_t output : item.wanted_outputs) want(output);
    }
  }

  Status TakeOutput(std::size_t position, std::uint32_t rows, Scratch& scratch) const {
    Ort::Value& value = scratch.outputs[position];
    const std::string_view name = scratch.output_names[position];
    if (!value.HasValue() || !value.IsTensor()) {
      return Status(StatusCode::kInternal, fmt::format("output '{}' is not a tensor", name));
    }
    const auto facts = value.GetTensorTypeAndShapeInfo();
    const std::optional<DataType> type = onnx::ToDataType(facts.GetElementType());
    BatchOutput output;
    output.shape = facts.GetShape();
    const std::optional<std::int64_t> elements = ElementCount(output.shape);
    if (!type || !elements) {
      return Status(StatusCode::kInternal,
                    fmt::format("output '{}' of shape {} has no type of the protocol", name,
                                ToString(output.shape)));
    }
    if (Status fits = CheckOutputRows(name, output.shape, rows, max_rows_); !fits.ok()) {
      return fits;
    }
    const auto count = static_cast<std::size_t>(*elements);
    if (*type == DataType::kBytes) {
      Result<onnx::EncodedStrings> encoded =
          onnx::EncodeStrings(value, count, max_rows_ > 0 ? rows : 1);
      if (!encoded) return std::move(encoded).error();
      output.data = std::move(encoded->data);
      output.row_offsets = std::move(encoded->row_offsets);
    } else {
      const std::span<const std::byte> data(static_cast<const std::byte*>(value.GetTensorRawData()),
                                            count * ElementSize(*type));
      output.row_size = data.size() / rows;
      if (RefersToInput(data, scratch)) {
        output.data = Buffer::CopyOf(data);
      } else {
        output.data = Buffer(
            std::make_shared<const OwnedValue>(OwnedValue{library_, std::move(value)}), data);
      }
    }
    scratch.batch_outputs.push_back(std::move(output));
    return Status();
  }

  // An output that is an input of the graph is answered with the caller's memory, which does not
  // live as long.
  static bool RefersToInput(std::span<const std::byte> data, const Scratch& scratch) {
    return std::ranges::any_of(scratch.input_data, [&](std::span<const std::byte> input) {
      return !data.empty() && input.data() == data.data();
    });
  }

  const std::shared_ptr<Library> library_;  // destroyed last
  Ort::Session session_;
  const std::vector<TensorSpec> inputs_;
  const std::vector<TensorSpec> outputs_;
  const std::uint32_t max_rows_;
  const std::string file_;
};

class OnnxRuntimeBackend final : public Backend {
 public:
  explicit OnnxRuntimeBackend(const DeviceSpec& device)
      : threads_(std::max(device.threads_per_slot, 1U)), cores_(device.cores) {}

  // The library, and the device's provider where it names one.
  Status Start(const ProviderSpec& provider) {
    if (const Result<const OrtApiBase*> runtime = onnx::LoadOnnxRuntime(); !runtime) {
      return runtime.error();
    }
    try {
      if (library_ == nullptr) library_ = std::make_shared<Library>();
      if (provider.name.empty()) return Status();
      Result<onnx::Provider> found = onnx::Provider::Find(provider, library_->env());
      if (!found) return found.error();
      provider_ = *std::move(found);
      Ort::SessionOptions options;  // shows what it does not take
      return provider_->Append(options);
    } catch (const std::exception& e) {
      return Status(StatusCode::kInternal, e.what());
    }
  }

  Result<std::unique_ptr<LoadedVariant>> Load(const ModelSpec& model,
                                              const VariantSpec& variant) override {
    const std::string& file = variant.file;
    std::error_code error;
    const std::filesystem::file_status found = std::filesystem::status(file, error);
    if (!std::filesystem::exists(found)) {
      return Error(StatusCode::kNotFound, "{}: no such file: expected an ONNX model", file);
    }
    if (!std::filesystem::is_regular_file(found)) {
      return Error(StatusCode::kInvalidArgument, "{}: not a file: expected an ONNX model", file);
    }
    if (library_ == nullptr) {
      if (const Status started = Start({}); !started.ok()) return Error(started.WithContext(file));
    }
    try {
      Ort::SessionOptions options = SessionOptions(model.name);
      if (provider_) {
        if (const Status added = provider_->Append(options); !added.ok()) {
          return Error(added.WithContext(file));
        }
      }
      Ort::Session session(library_->env(), file.c_str(), options);
      const Result<onnx::FileSpecs> specs = onnx::ReadSpecs(session, model);
      if (!specs) return Error(specs.error().WithContext(file));
      ModelSpec complete = model;
      const Status agrees = CompleteFromFile(complete, specs->inputs, specs->outputs);
      if (!agrees.ok()) return Error(agrees.WithContext(file));
      return std::make_unique<OnnxVariant>(library_, std::move(session), complete, file);
    } catch (const Ort::Exception& e) {
      return Error(StatusCode::kInvalidArgument, "{}: not a model that ONNX Runtime {} can run: {}",
                   file, onnx::OnnxRuntimeVersion(), e.what());
    } catch (const std::exception& e) {
      return Error(StatusCode::kInternal, "{}: loading failed: {}", file, e.what());
    }
  }

  std::string description() const override {
    const std::string version = fmt::format("onnxruntime {}", onnx::OnnxRuntimeVersion());
    return provider_ ? fmt::format("{}, {}", version, provider_->name()) : version;
  }

 private:
  Ort::SessionOptions SessionOptions(const std::string& log_id) const {
    Ort::SessionOptions options;
    options.SetLogId(log_id.c_str());
    options.SetExecutionMode(ORT_SEQUENTIAL);
    options.SetInterOpNumThreads(1);
    options.SetIntraOpNumThreads(static_cast<int>(threads_));
    options.AddConfigEntry(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0");
    options.AddConfigEntry(kOrtSessionOptionsConfigAllowInterOpSpinning, "0");
    // A memory pattern is kept for every batch size that occurs; README.md has the figures.
    options.DisableMemPattern();
    if (threads_ > 1 && !cores_.empty()) {
      // All cores for each thread of the pool; the library counts processors from 1.
      std::vector<std::uint32_t> processors = cores_;
      for (std::uint32_t& processor : processors) ++processor;
      const std::vector<std::string> threads(threads_ - 1,
                                             fmt::format("{}", fmt::join(processors, ",")));
      options.AddConfigEntry(kOrtSessionOptionsConfigIntraOpThreadAffinities,
                             fmt::format("{}", fmt::join(threads, ";")).c_str());
    }
    return options;
  }

  const std::uint32_t threads_;
  const std::vector<std::uint32_t> cores_;
  std::shared_ptr<Library> library_;
  std::optional<onnx::Provider> provider_;
};

}  // namespace

Result<std::unique_ptr<Backend>> MakeOnnxRuntimeBackend(const DeviceSpec& device) {
  const char* const telemetry_off = std::getenv(kTelemetryOff);
  if (telemetry_off == nullptr || std::string_view(telemetry_off) != "1") {
    setenv(kTelemetryOff, "1", 1);
  }
  auto backend = std::make_unique<OnnxRuntimeBackend>(device);
  if (!device.provider.name.empty()) {
    if (const Status started = backend->Start(device.provider); !started.ok()) {
      return Error(started.WithContext(fmt::format("provider {}", device.provider.name)));
    }
  }
  return std::unique_ptr<Backend>(std::move(backend));
}

}  // namespace duly
