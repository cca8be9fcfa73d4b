// SPDX-License-Identifier: Apache-2.0
#include "cli/load_target.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/fault.h"
#include "base/random.h"

namespace duly {
namespace {

using workload::ApplicationLoad;
using workload::InputSet;
using workload::InputTensor;

constexpr std::int64_t kMaxRequestBytes = std::int64_t{1} << 30;

// `set` rows of an input, cut into requests of `rows` rows.
TargetInput Cut(const InputTensor& input, std::size_t set_rows, std::uint32_t rows) {
  TargetInput cut;
  cut.request_bytes = input.row_bytes * rows;
  if (set_rows >= rows) {
    cut.requests = set_rows / rows;
    cut.data = input.data.Slice(0, cut.requests * cut.request_bytes);
    return cut;
  }
  auto [buffer, bytes] = Buffer::Allocate(cut.request_bytes);
  for (std::uint32_t row = 0; row < rows; ++row) {
    std::memcpy(bytes.data() + row * input.row_bytes,
                input.data.data().data() + (row % set_rows) * input.row_bytes, input.row_bytes);
  }
  cut.data = std::move(buffer);
  return cut;
}

TargetInput MakeUp(DataType type, std::size_t elements, RandomStream& random) {
  // An empty string is its length, which is zero.
  const std::size_t element_bytes = type == DataType::kBytes ? 4 : ElementSize(type);
  TargetInput made;
  made.request_bytes = elements * element_bytes;
  auto [buffer, bytes] = Buffer::Allocate(made.request_bytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  for (std::size_t i = 0; i < elements; ++i) {
    if (type == DataType::kFp32) {
      const auto value = static_cast<float>(random.Uniform());
      std::memcpy(bytes.data() + i * sizeof(value), &value, sizeof(value));
    } else if (type == DataType::kFp64) {
      const double value = random.Uniform();
      std::memcpy(bytes.data() + i * sizeof(value), &value, sizeof(value));
    }
  }
  made.data = std::move(buffer);
  return made;
}

// The shape of a request of `rows` rows, or nothing when the model takes no such request.
std::optional<Shape> RequestShape(const Shape& model, const Shape& row, std::uint32_t rows) {
  Shape shape = row;
  if (model.size() == row.size() + 1) {
    shape.insert(shape.begin(), rows);
  } else if (model.size() != row.size() || rows != 1) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < model.size(); ++i) {
    if (model[i] != -1 && model[i] != shape[i]) return std::nullopt;
  }
  return shape;
}

// The same without a set: dimensions that vary are 1, the first of them `rows`.
std::optional<Shape> MadeUpShape(const Shape& model, std::uint32_t rows) {
  Shape shape = model;
  for (std::int64_t& dimension : shape) dimension = dimension == -1 ? 1 : dimension;
  if (rows == 1) return shape;
  if (model.empty() || model.front() != -1) return std::nullopt;
  shape.front() = rows;
  return shape;
}

auto Parameters(const ApplicationLoad& load, Dialect dialect) {
  const auto micros = [](Duration d) -> std::int64_t {
    return std::chrono::ceil<std::chrono::microseconds>(d).count();
  };
  decltype(LoadRequest::parameters) parameters;
  if (load.spec.timeout) parameters.emplace_back("timeout", micros(*load.spec.timeout));
  if (dialect == Dialect::kStandard) return parameters;
  if (dialect == Dialect::kDuly) parameters.emplace_back("application", load.spec.name);
  if (load.spec.slo) parameters.emplace_back("slo_us", micros(*load.spec.slo));
  if (load.spec.min_accuracy_pct) {
    parameters.emplace_back("min_accuracy", *load.spec.min_accuracy_pct);
  }
  if (!load.variant.empty()) parameters.emplace_back("variant", load.variant);
  parameters.emplace_back("duly_report", true);
  return parameters;
}

}  // namespace

std::size_t LoadTarget::size() const {
  std::size_t bytes = head.size();
  for (const TargetInput& input : inputs) bytes += input.prefix.size() + input.request_bytes;
  return bytes;
}

void LoadTarget::Gather(std::uint32_t sequence, std::vector<iovec>& parts) const {
  parts.clear();
  // sendmsg takes what it does not change as if it would.
  const auto add = [&parts](const std::string& text) {
    parts.push_back({const_cast<char*>(text.data()), text.size()});
  };
  add(head);
  for (const TargetInput& input : inputs) {
    if (!input.prefix.empty()) add(input.prefix);
    if (input.request_bytes == 0) continue;
    const std::byte* data =
        input.data.data().data() + sequence % input.requests * input.request_bytes;
    parts.push_back({const_cast<std::byte*>(data), input.request_bytes});
  }
}

std::size_t LoadTarget::FirstRow(std::uint32_t sequence) const {
  return expected_rows < rows ? 0 : sequence % (expected_rows / rows) * rows;
}

Result<LoadTarget> MakeTarget(const LoadServer& server, const ApplicationLoad& load,
                              std::span<const TensorSpec> model_inputs, const InputSet* set,
                              Dialect dialect, std::uint64_t seed) {
  LoadTarget target;
  target.slo = load.spec.slo;
  target.cancel_after = load.cancel_after;
  target.rows = load.rows;
  target.wants_report = dialect != Dialect::kStandard;

  const auto fault = [](std::string text) {
    return Error(Status(StatusCode::kInvalidArgument, std::move(text)));
  };
  if (set != nullptr && set->inputs.size() != model_inputs.size()) {
    return fault(fmt::format("{} describes {} inputs: expected the {} of the model",
                             load.inputs_file, set->inputs.size(), model_inputs.size()));
  }
  RandomStream random(seed, fmt::format("inputs/{}", load.spec.name));
  LoadRequest request;
  request.model = load.spec.model;
  request.parameters = Parameters(load, dialect);
  for (const TensorSpec& spec : model_inputs) {
    const InputTensor* given = nullptr;
    if (set != nullptr) {
      const auto found =
          std::find_if(set->inputs.begin(), set->inputs.end(),
                       [&spec](const InputTensor& input) { return input.spec.name == spec.name; });
      if (found == set->inputs.end() || found->spec.type != spec.type) {
        return fault(fmt::format("{} has no input '{}' of type {}", load.inputs_file, spec.name,
                                 ToString(spec.type)));
      }
      given = &*found;
    }
    const std::optional<Shape> shape = given != nullptr
                                           ? RequestShape(spec.shape, given->spec.shape, load.rows)
                                           : MadeUpShape(spec.shape, load.rows);
    if (!shape) {
      return fault(
          fmt::format("{} rows for input '{}': the model takes {}{}", load.rows, spec.name,
                      ToString(spec.shape),
                      given == nullptr ? "" : ", a row is " + ToString(given->spec.shape)));
    }
    const std::optional<std::int64_t> elements = ElementCount(*shape);
    if (!elements || *elements > kMaxRequestBytes / 8) {
      return fault(fmt::format("input '{}' of shape {} is too large", spec.name, ToString(*shape)));
    }
    target.inputs.push_back(given != nullptr
                                ? Cut(*given, set->rows, load.rows)
                                : MakeUp(spec.type, static_cast<std::size_t>(*elements), random));
    request.inputs.push_back({spec.name, spec.type, *shape, target.inputs.back().request_bytes});
  }
  if (set != nullptr && set->expected) {
    target.expected = set->expected;
    target.expected_rows = set->rows;
  }

  server.Encode(request, target);
  return target;
}

Result<std::vector<LoadTarget>> PrepareTargets(const LoadServer& server,
                                               std::span<const ApplicationLoad> loads,
                                               Dialect dialect, std::uint64_t seed) {
  Faults faults;
  std::map<std::string, InputSet> sets;
  for (const ApplicationLoad& load : loads) {
    if (load.inputs_file.empty() || sets.contains(load.inputs_file)) continue;
    sets[load.inputs_file] = workload::ReadInputs(load.inputs_file, faults);
  }
  if (!faults.empty()) return Error(faults.ToStatus());

  std::map<std::string, std::vector<TensorSpec>> models;
  std::vector<LoadTarget> targets;
  std::vector<std::string> failures;
  for (const ApplicationLoad& load : loads) {
    if (!models.contains(load.spec.model)) {
      Result<ModelTensors> tensors = server.TensorsOf(load.spec.model);
      if (!tensors) {
        failures.push_back(
            fmt::format("application '{}': {}", load.spec.name, tensors.error().message()));
        continue;
      }
      models[load.spec.model] = std::move(tensors->inputs);
    }
    const auto set = sets.find(load.inputs_file);
    Result<LoadTarget> target =
        MakeTarget(server, load, models[load.spec.model],
                   set == sets.end() ? nullptr : &set->second, dialect, seed);
    if (target) {
      targets.push_back(std::move(*target));
    } else {
      failures.push_back(
          fmt::format("application '{}': {}", load.spec.name, target.error().message()));
    }
  }
  if (!failures.empty()) {
    return Error(StatusCode::kFailedPrecondition, "{}", fmt::join(failures, "\n"));
  }
  return targets;
}

}  // namespace duly
