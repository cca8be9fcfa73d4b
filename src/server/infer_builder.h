// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "runtime/infer.h"
#include "server/shared_memory.h"

namespace duly {

// A request parameter's value, in whatever protocol it came. monostate: what is none of the others,
// such as null or an object.
using ParameterValue =
    std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string_view>;

// What the parameters of an input or output say of shared memory.
struct SharedMemoryParameters {
  std::optional<std::string_view> region;
  std::optional<std::uint64_t> bytes;
  std::optional<std::uint64_t> offset;

  bool given() const { return region || bytes || offset; }
  // Takes parameters of these names and leaves others alone. kInvalidArgument says what a wrong
  // value should be.
  Status Set(std::string_view name, const ParameterValue& value);
};

// Turns what a client said into an InferRequest, whatever the protocol, with every check that the
// node relies on. Failures are kInvalidArgument (kUnimplemented for what Duly does not have) and
// say where and what was expected: "input 'image': shape [2,28]: expected [-1,1,28,28]".
class InferRequestBuilder {
 public:
  // An input whose name, type and shape agree with the model; its data is still to come.
  struct Input {
    std::size_t index = 0;  // into the spec's inputs
    const TensorSpec* spec = nullptr;
    std::int64_t elements = 0;
    std::size_t bytes = 0;  // 0 for kBytes
  };

  // The model must be ready to serve. Without a registry
  // shared memory is kUnimplemented; its lack of memory is kResourceExhausted.
  InferRequestBuilder(std::shared_ptr<const ServedModel> model,
                      const SharedMemoryRegistry* shared_memory);

  Result<Input> AddInput(std::string_view name, std::string_view datatype, Shape shape);
  // Data in the protocol's binary form (Tensor): checks the size, the lengths of kBytes elements
  // and the values of kBool ones. Keeps the buffer, or a copy where it is misaligned for its type.
  Status SetData(const Input& input, Buffer data);

  // The same with a copy of what stands in shared memory.
  Status SetData(const Input& input, const SharedMemoryParameters& place);

  // An output that the client wants; without any it gets all. Returns its place in the spec.
  Result<std::uint32_t> AddOutput(std::string_view name);
  // The output added last goes to shared memory.
  Status PlaceOutput(const SharedMemoryParameters& place);

  // The value of the parameter "classification" of such an output: how many of its largest values
  // are wanted instead of all values.
  Result<std::uint32_t> ClassCount(std::uint32_t output, const ParameterValue& value) const;

  // timeout, slo_us, priority, application, min_accuracy, variant, duly_report; sequence parameters
  // are refused, names that Duly does not know are left alone.
  Status SetParameter(std::string_view name, const ParameterValue& value);

  // Whether the client asked where and how its answer came about.
  bool report() const { return report_; }
  const ModelSpec& spec() const { return request_.model->spec; }

  // Where wanted outputs go, as InferReplyFormat has it.
  std::vector<SharedMemoryPlace> TakePlaces() { return std::move(places_); }
  // Checks what can be seen only at the end. Leaves the builder empty.
  Result<InferRequest> Finish();

 private:
  Status CheckShape(const TensorSpec& spec, const Shape& shape);
  Result<SharedMemoryPlace> Locate(const SharedMemoryParameters& place) const;

  const SharedMemoryRegistry* const shared_memory_;
  std::vector<SharedMemoryPlace> places_;
  InferRequest request_;  // inputs by place in the spec until Finish
  std::vector<bool> has_data_;
  bool has_rows_ = false;
  bool report_ = false;
};

}  // namespace duly
